"""The session cookie of browsers, and where a request that carries it has to come from."""

from __future__ import annotations

from typing import Final

from portico.edge.exchange import Exchange
from portico.edge.forwarded import SCHEMES, trusted
from portico.edge.http1.names import COOKIE, ORIGIN, X_FORWARDED_HOST, X_FORWARDED_PROTO

NAME: Final = b"portico_session"
COOKIE_KIND: Final = COOKIE  # as `exchange.credential`
SAFE: Final = frozenset([b"GET", b"HEAD", b"OPTIONS"])  # RFC 9110 9.2.1
DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


def session_of(exchange: Exchange) -> bytes:
    """The session's token, or empty. One that comes twice is no token: another site of the domain may have set it."""
    cookies = exchange.fields.known.get(COOKIE)
    if cookies is None:
        return b""
    pairs = [pair.strip(b" \t").partition(b"=") for pair in cookies.replace(b",", b";").split(b";")]
    values = [value.strip(b'"') for name, _, value in pairs if name == NAME]
    return values[0] if len(values) == 1 else (b"twice" if values else b"")


def safe(exchange: Exchange) -> bool:
    """Whether the request changes nothing. A WebSocket may, and no browser asks before it opens one."""
    return exchange.method in SAFE and not exchange.websocket


def own_origin(exchange: Exchange, networks: list[object]) -> bool:
    """Whether Origin (RFC 6454) is where the request was sent to, as the client knows it."""
    known = exchange.fields.known
    origin = known.get(ORIGIN)
    scheme, host = exchange.scheme, exchange.authority
    if networks and trusted(exchange.peer, networks):
        told = known.get(X_FORWARDED_PROTO, b"").lower()
        scheme = told if told in SCHEMES else scheme
        host = known.get(X_FORWARDED_HOST, b"") or host
    if origin is None or not host:
        return False
    return plain(origin) == plain(scheme + b"://" + host)


def plain(origin: bytes) -> bytes:
    """An origin in lower case, without the port that its scheme has anyhow."""
    lower = origin.lower()
    return lower.removesuffix(DEFAULT_PORTS.get(lower.partition(b":")[0], b""))
