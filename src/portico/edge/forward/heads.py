"""The request head that goes upstream: the client's fields as they came, and the edge's own."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from portico.edge.exchange import UNKNOWN_LENGTH, Exchange
from portico.edge.http1 import names
from portico.edge.plan import CompiledRoute

ANNOUNCED: Final = frozenset([b"POST", b"PUT", b"PATCH"])  # say Content-Length: 0 (RFC 9110 8.6)
ENDS: Final = (b"", b"/")  # what may follow a prefix
CRLF: Final = b"\r\n"
COOKIES: Final = b"portico_"  # how the names of our own begin
OWN_COOKIES: Final = frozenset([b"portico_session", b"portico_refresh"])
SEGMENT: Final = "!$&'()*+,;=:@-._~"  # what a path segment may hold as it is (RFC 3986 3.3)


def request_head(exchange: Exchange, route: CompiledRoute, authority: bytes, signed: bytes) -> bytes:
    """The whole head, final CRLF CRLF included. `signed` is the principal's line for our services, or empty."""
    trace = exchange.trace
    passed = (exchange.fields.kept if trace is None else trace.lines(exchange.fields.kept)) + credentials(
        exchange, route
    )
    cookies = exchange.fields.known.get(names.COOKIE)
    if cookies is not None and cookies.find(COOKIES) >= 0 and not ours(route):
        passed = without_session(passed)
    if exchange.request_edit is not None:
        passed = exchange.request_edit.apply(passed)
    host = exchange.authority if route.preserve_host and exchange.authority else authority
    lines = [
        exchange.method, b" ", target_of(exchange, route), b" HTTP/1.1\r\nHost: ", host,
        passed,
        exchange.request_fields,
        b"\r\nX-Request-Id: ", exchange.request_id,
        signed,
    ]  # fmt: skip
    length = exchange.length
    if length > 0:
        lines.append(b"\r\nContent-Length: %d" % length)
    elif length == UNKNOWN_LENGTH:
        lines.append(b"\r\nTransfer-Encoding: chunked")
    elif exchange.method in ANNOUNCED:
        lines.append(b"\r\nContent-Length: 0")
    if exchange.expect:
        lines.append(b"\r\nExpect: 100-continue")
    if exchange.websocket:
        lines.append(b"\r\nConnection: Upgrade\r\nUpgrade: websocket")
    lines.append(b"\r\n\r\n")
    return b"".join(lines)


def credentials(exchange: Exchange, route: CompiledRoute) -> bytes:
    """The credentials that go on: those the edge has not used, and the used one where the route says so."""
    known = exchange.fields.known
    key = known.get(names.X_API_KEY)
    authorization = known.get(names.AUTHORIZATION)
    used = exchange.credential
    if used != 0 and not route.forward_credentials:
        # A key that came twice was used twice.
        twice = key is not None and authorization is not None and authorization.endswith(key)
        if twice or used == names.AUTHORIZATION:
            authorization = None
        if twice or used == names.X_API_KEY:
            key = None
    lines = b""
    if key is not None:
        lines += b"\r\nX-API-Key: " + key
    if authorization is not None:
        lines += b"\r\nAuthorization: " + authorization
    return lines


def ours(route: CompiledRoute) -> bool:
    """Whether the route leads to our own services."""
    upstream = route.upstream
    return upstream is not None and upstream.services


def without_session(lines: bytes) -> bytes:
    """The field lines without our own cookies. A browser sends them with every request to this host; an upstream that
    saw them could do here what the person may."""
    kept = [b""]
    for line in lines.split(CRLF)[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"cookie":
            pairs = [each for each in value.split(b";") if each.partition(b"=")[0].strip(b" \t") not in OWN_COOKIES]
            if not pairs:
                continue
            line = name + b":" + b";".join(pairs)
        kept.append(line)
    return CRLF.join(kept)


def target_of(exchange: Exchange, route: CompiledRoute) -> bytes:
    """The request target that goes upstream: rewritten for an alias, without the prefix where it is stripped."""
    if route.rewrite:
        return rewritten(route.rewrite, exchange.params) + exchange.query
    prefix = route.strip_prefix
    if not prefix:
        return exchange.path + exchange.query
    return stripped(exchange, prefix) + exchange.query


def stripped(exchange: Exchange, prefix: bytes) -> bytes:
    """The path without its prefix. A path that spells the prefix with escapes is written anew from its decoded form."""
    path = exchange.path
    if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ENDS:
        rest = path[len(prefix) :]
    elif exchange.match.startswith(prefix) and exchange.match[len(prefix) : len(prefix) + 1] in ENDS:
        rest = quote(exchange.match[len(prefix) :].replace(b"%2F", b"\x00"), safe="/" + SEGMENT).encode()
        rest = rest.replace(b"%00", b"%2F")
    else:
        return path
    return rest if rest.startswith(b"/") else b"/" + rest


def rewritten(pattern: bytes, params: list[bytes]) -> bytes:
    """An alias's canonical path, with the values that its parameters matched."""
    parts: list[bytes] = []
    values = iter(params)
    for segment in pattern.split(b"/"):
        if segment.startswith(b"{"):
            parts.append(quote(next(values), safe=SEGMENT).encode())
        else:
            parts.append(segment)
    return b"/".join(parts)
