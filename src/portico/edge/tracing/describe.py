"""What is told of a traced request: one span for it, and one for each try of an upstream. Never a credential."""

from __future__ import annotations

from typing import Final

from portico import contracts
from portico.edge.exchange import Exchange
from portico.edge.plan import CompiledRoute
from portico.edge.record import METHODS, without_secrets
from portico.edge.tracing.trace import WAITED, Attempt, Trace
from portico.telemetry.tracing.record import CLIENT, SERVER, Record, Value

LONGEST: Final = 1024  # characters of a path, a host, an id
PHASES: Final = {WAITED: "waited", **{number: name for name, number in contracts.PHASES.items()}}
FAILED: Final = "upstream_"  # how codes begin that say that an upstream failed
VERSIONS: Final = {10: "1.0", 11: "1.1"}


def describe(exchange: Exchange, trace: Trace, now: float) -> list[Record]:
    """The spans, by the semantic conventions of OpenTelemetry for HTTP; `now` is monotonic."""
    clock = Clock(exchange)
    return [_server(exchange, trace, clock, now)] + [
        _client(exchange, trace, clock, number, attempt) for number, attempt in enumerate(trace.attempts)
    ]


class Clock:
    """Monotonic seconds as nanoseconds since 1970, by when the request came."""

    def __init__(self, exchange: Exchange) -> None:
        self._wall = int(exchange.wall * 1_000_000) * 1000
        self._began = exchange.now

    def at(self, monotonic: float) -> int:
        """That moment; none before the request came."""
        return self._wall + max(0, int((monotonic - self._began) * 1e9))


def _server(exchange: Exchange, trace: Trace, clock: Clock, now: float) -> Record:
    route = exchange.route
    pattern = "" if route is None else pattern_of(route, exchange.match)
    attributes = _about_request(exchange)
    attributes |= _about_caller(exchange)
    if route is not None:
        attributes["portico.route"] = route.name
        attributes["url.path"] = _path(exchange, route)
    if pattern:
        attributes["http.route"] = pattern
    answered = exchange.status if exchange.responding else 0
    if answered:
        attributes["http.response.status_code"] = answered
        attributes["http.response.body.size"] = exchange.bytes_out
    failed = answered >= 500 or exchange.code.startswith(FAILED)
    if exchange.code:
        attributes["portico.code"] = exchange.code
        attributes["error.type"] = exchange.code
        if not trace.attempts and route is not None and 0 < exchange.rank <= len(route.steps):
            attributes["portico.step"] = route.steps[exchange.rank - 1].name
    elif failed:
        attributes["error.type"] = str(answered)
    name = f"{method_of(exchange)} {pattern}" if pattern else method_of(exchange)
    events = [(PHASES.get(phase, "answer"), clock.at(at)) for phase, at in trace.phases]
    return Record(
        name, SERVER, trace.trace_id.decode(), trace.span_id.decode(), trace.parent_id.decode(),
        clock.at(exchange.now), clock.at(now), attributes, events, failed, bool(trace.parent_id),
    )  # fmt: skip


def _client(exchange: Exchange, trace: Trace, clock: Clock, number: int, attempt: Attempt) -> Record:
    last = number + 1 == len(trace.attempts)
    code = attempt.code or (exchange.code if last else "")
    attributes: dict[str, Value] = {
        "http.request.method": _known_method(exchange),
        "server.address": _text(attempt.upstream),
    }
    route = exchange.route
    if route is not None and route.upstream is not None:
        attributes["portico.upstream"] = route.upstream.name
    if number:
        attributes["http.request.resend_count"] = number
    if attempt.status:
        attributes["http.response.status_code"] = attempt.status
    if code or attempt.status >= 400:
        attributes["error.type"] = code or str(attempt.status)
    times = (("sent", attempt.sent), ("answered", attempt.headed))
    events = [(name, clock.at(at)) for name, at in times if at]
    return Record(
        method_of(exchange), CLIENT, trace.trace_id.decode(), attempt.span_id.decode(), trace.span_id.decode(),
        clock.at(attempt.began), clock.at(attempt.ended), attributes, events, bool(code) or attempt.status >= 400,
    )  # fmt: skip


def _about_request(exchange: Exchange) -> dict[str, Value]:
    known = _known_method(exchange)
    attributes: dict[str, Value] = {
        "http.request.method": known,
        "url.scheme": exchange.scheme.decode(),
        "network.protocol.version": VERSIONS.get(exchange.version, ""),
        "http.request.body.size": exchange.bytes_in,
        "portico.request_id": _text(exchange.request_id),
    }
    if known != method_of(exchange):
        attributes["http.request.method_original"] = _text(exchange.method)
    if exchange.host:
        attributes["server.address"] = _text(exchange.host)
    return attributes


def _about_caller(exchange: Exchange) -> dict[str, Value]:
    attributes: dict[str, Value] = {"client.address": _text(exchange.client)}
    principal = exchange.principal
    if principal is not None:
        attributes["portico.tenant"] = _sound(principal.tenant)
        attributes[f"portico.{principal.kind}"] = _sound(principal.id)  # portico.key, portico.person, portico.device
    return attributes


def _path(exchange: Exchange, route: CompiledRoute) -> str:
    """The path without its query, masked as in the access log."""
    target = exchange.target
    path = target[: len(target) - len(exchange.query)] if exchange.query else target
    if route.redact or b"pk_" in path:
        path = without_secrets(path, route.redact)
    return _text(path)


def method_of(exchange: Exchange) -> str:
    """The method, as it names a span; HTTP where it is an unusual one."""
    return exchange.method.decode() if exchange.method in METHODS else "HTTP"


def _known_method(exchange: Exchange) -> str:
    return exchange.method.decode() if exchange.method in METHODS else "_OTHER"


def _text(raw: bytes) -> str:
    return raw[:LONGEST].decode("latin-1")


def _sound(text: str) -> str:
    """Text that UTF-8 can write: a token may bring half a surrogate pair, which would spoil a whole batch."""
    return text[:LONGEST].encode("utf-8", "replace").decode()


def pattern_of(route: CompiledRoute, path: bytes) -> str:
    """Which of the route's paths the request's fits; "" where that is not known."""
    if len(route.paths) == 1:
        return route.paths[0]
    segments = path.decode("latin-1").split("/")
    return next((each for each in route.paths if _fits(each.split("/"), segments)), "")


def _fits(pattern: list[str], segments: list[str]) -> bool:
    for index, part in enumerate(pattern):
        if part == "*":
            return True
        if index >= len(segments) or not (part == segments[index] or (part.startswith("{") and segments[index])):
            return False
    return len(pattern) == len(segments)
