"""ADMIT: cross-origin requests of browsers (fetch.spec.whatwg.org, CORS protocol).

A preflight is answered here, before AUTHENTICATE, for browsers send it without credentials. Other requests go on; their
answers, refusals too, say whether the page may read them. What the upstream says about that is dropped.
"""

from __future__ import annotations

from typing import Any, Final

from portico.contracts import ADMIT
from portico.edge.context import PolicyContext
from portico.edge.edit import Edit
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.http1.names import ORIGIN, is_token

SAFE_METHODS: Final = (b"GET", b"HEAD", b"POST")  # need no permission (fetch 2.2.1)
HOST: Final = b"0123456789abcdefghijklmnopqrstuvwxyz.-"
VARY: Final = b"\r\nVary: Origin"
VARY_PREFLIGHT: Final = b"\r\nVary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


class Origins:
    """Which origins are allowed: `*`, exact ones, and `https://*.example.com` for one or more labels."""

    def __init__(self, origins: list[str]) -> None:
        texts = [origin.lower().rstrip("/").encode() for origin in origins]
        self.any = b"*" in texts
        self.exact = frozenset([text for text in texts if b"*" not in text])
        self.wild = [text.split(b"*", 1) for text in texts if b"*" in text and text != b"*"]

    def allow(self, origin: bytes) -> bool:
        """Whether pages of `origin` may call."""
        if self.any or origin in self.exact:
            return True
        for start, end in self.wild:
            spare = len(origin) - len(start) - len(end)
            if spare <= 0 or not origin.startswith(start) or not origin.endswith(end):
                continue
            if not origin[len(start) : len(start) + spare].translate(None, HOST):
                return True
        return False


class Cors:
    """The policy of one route."""

    def __init__(self, config: dict[str, Any], routed: tuple[str, ...]) -> None:
        methods = [method.encode() for method in config["methods"]]
        headers = [header.lower().encode() for header in config["headers"]]
        self.origins = Origins(list(config["origins"]))
        self.methods = frozenset([*methods, *SAFE_METHODS])
        self.headers = frozenset(headers)
        self.any_method = b"*" in methods
        self.any_header = b"*" in headers
        self.listed = b", ".join(methods)
        # Never for every origin: any page could then act as the user.
        credentials = config["credentials"] and not self.origins.any
        self.credentials = b"\r\nAccess-Control-Allow-Credentials: true" if credentials else b""
        self.max_age = b"\r\nAccess-Control-Max-Age: %d" % int(config["max_age"])
        self.same_for_all = self.origins.any
        self.allowed = _allowed(routed)
        self.theirs = Edit({}, {}, ["Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"])

    def check(self, exchange: Exchange) -> Response | None:
        origin = exchange.fields.known.get(ORIGIN)
        if exchange.method == b"OPTIONS":
            wanted = exchange.field(b"access-control-request-method")
            if origin is not None and wanted is not None:
                return self._preflight(exchange, origin, wanted)
            if self.allowed:
                hint = f"use one of: {self.allowed.decode()}"
                fields = b"\r\nAllow: " + self.allowed
                return exchange.problem(405, "method_not_allowed", "the path does not take this method", hint, fields)
        exchange.response_edit = self.theirs.after(exchange.response_edit)
        if origin is not None and self.origins.allow(origin.lower()):
            exchange.response_fields += self._admitted(origin) + (b"" if self.same_for_all else VARY)
        elif not self.same_for_all:
            exchange.response_fields += VARY
        return None

    def _preflight(self, exchange: Exchange, origin: bytes, wanted: bytes) -> Response:
        if not self.origins.allow(origin.lower()):
            return _denied(exchange, "pages of this origin may not call this route")
        if not is_token(wanted) or not (self.any_method or wanted in self.methods):
            return _denied(exchange, "pages of other origins may not use this method here")
        asked = _names(exchange.field(b"access-control-request-headers"))
        for name in asked:
            if not is_token(name) or not (self.any_header or name in self.headers):
                return _denied(exchange, "pages of other origins may not send one of these header fields")
        # With credentials a browser takes "*" for a name; so what was asked for is granted by name.
        fields = self._admitted(origin) + b"\r\nAccess-Control-Allow-Methods: "
        fields += wanted if self.any_method or not self.listed else self.listed
        if asked:
            fields += b"\r\nAccess-Control-Allow-Headers: " + b", ".join(asked)
        return Response(204, b"", fields + self.max_age + VARY_PREFLIGHT)

    def _admitted(self, origin: bytes) -> bytes:
        shown = b"*" if self.same_for_all else origin
        return b"\r\nAccess-Control-Allow-Origin: " + shown + self.credentials


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"origins": [], "methods": [], "headers": [], "credentials": bool, "max_age": seconds}."""
    policy = Cors(config, context.route.methods)
    return Step("cors", ADMIT, policy.check, policy.check)


def _allowed(routed: tuple[str, ...]) -> bytes:
    """The Allow field of a route that takes OPTIONS only for preflights; empty if it takes OPTIONS anyway."""
    if not routed or "OPTIONS" in routed:
        return b""
    methods = {*routed, "HEAD"} if "GET" in routed else set(routed)
    return ", ".join(sorted(methods)).encode()


def _names(value: bytes | None) -> list[bytes]:
    if value is None:
        return []
    return [name for name in [part.strip(b" \t").lower() for part in value.split(b",")] if name]


def _denied(exchange: Exchange, detail: str) -> Response:
    return exchange.problem(403, "cors_denied", detail, "ask the operator to extend the route's cors", VARY_PREFLIGHT)
