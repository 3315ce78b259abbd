"""The refusals that the connection itself gives, each with its code, sentence and hint."""

from __future__ import annotations

from typing import Final

from portico.edge.exchange import Exchange, Response
from portico.edge.http1.errors import HeadError

ANY_METHOD: Final = b"\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
INTERNAL: Final = b"/_portico"
HINTS: Final = {
    413: "send a smaller body",
    414: "shorten the request target",
    417: "leave out the Expect field, or send 100-continue",
    431: "send fewer or shorter header fields",
    501: "use plain requests; no transfer coding but chunked is known here",
    505: "use HTTP/1.1",
}


def reserved(exchange: Exchange) -> bool:
    """Whether the path belongs to what edge and services say to each other; no listener reaches it."""
    return exchange.match.startswith(INTERNAL) and exchange.match[9:10] in (b"", b"/")


def head_refused(exchange: Exchange, error: HeadError) -> Response:
    """The request could not be read (RFC 9110, RFC 9112)."""
    hint = HINTS.get(error.status, "correct the request; nothing of it was passed on")
    return exchange.problem(error.status, error.code, error.detail, hint)


def nowhere(exchange: Exchange, allowed: list[bytes]) -> Response:
    """No route takes the request: 404, 405 when routes take other methods, or what OPTIONS * is answered with."""
    if exchange.path == b"*":
        return Response(204, b"", ANY_METHOD)
    if allowed and not reserved(exchange):
        return method_refused(exchange, allowed)
    return unmatched(exchange)


def unmatched(exchange: Exchange) -> Response:
    """No route matches."""
    return exchange.problem(
        404, "route_not_found", "no route matches this host and path", "`portico routes` lists what there is"
    )


def method_refused(exchange: Exchange, allowed: list[bytes]) -> Response:
    """Routes match, but none takes this method."""
    listed = b", ".join(allowed)
    hint = f"use one of: {listed.decode('latin-1')}"
    return exchange.problem(
        405, "method_not_allowed", "the path does not take this method", hint, b"\r\nAllow: " + listed
    )


def too_large(exchange: Exchange) -> Response:
    """The body is larger than the route takes."""
    detail = f"the body exceeds {exchange.body_limit} bytes"
    return exchange.problem(
        413, "body_too_large", detail, "send a smaller body, or ask the operator for a larger body_bytes"
    )


def overloaded(exchange: Exchange) -> Response:
    """More is under way than the edge takes on."""
    hint = "try again after Retry-After seconds"
    return exchange.problem(503, "overloaded", "too many requests are under way", hint, b"\r\nRetry-After: 1")


def policy_failed(exchange: Exchange) -> Response:
    """A policy raised an error."""
    return exchange.problem(
        500, "policy_failed", "a policy of this route failed", "tell the operator the request_id; the log has the cause"
    )


def upstream_slow(exchange: Exchange) -> Response:
    """The upstream took too long."""
    return exchange.problem(
        504,
        "upstream_timeout",
        "the upstream did not answer in time",
        "try again later; the route's timeouts say how long is waited",
    )


def slow_client(exchange: Exchange) -> Response:
    """The client stopped sending its body."""
    response = exchange.problem(
        408, "body_timeout", "the request body did not arrive in time", "send the body without long pauses"
    )
    response.close = True
    return response
