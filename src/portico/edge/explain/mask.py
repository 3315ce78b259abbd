"""Credentials are not shown: neither the caller's nor those that the configuration adds for an upstream."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from portico.edge.exchange import Exchange

REDACTED: Final = b"[redacted]"
MASK: Final = b"***"
TELLING: Final = (
    b"auth", b"cookie", b"credential", b"key", b"passw", b"principal", b"secret", b"session", b"signature", b"token",
)  # fmt: skip
HARMLESS: Final = frozenset([b"sec-websocket-key", b"access-control-allow-credentials", b"www-authenticate"])
SCHEMES: Final = frozenset([b"basic", b"bearer", b"digest"])


def secrets_of(exchange: Exchange) -> frozenset[bytes]:
    """The values, decoded, of the path parameters that the route lets no log show."""
    route = exchange.route
    if route is None or not route.redact:
        return frozenset()
    segments = exchange.match.split(b"/")[1:]
    return frozenset([segments[index] for index in route.redact if index < len(segments)])


def mask_head(head: bytes, secrets: frozenset[bytes]) -> list[str]:
    """The lines of a request head without its final empty line, as they may be shown."""
    line, _, block = head.removesuffix(b"\r\n\r\n").partition(b"\r\n")
    method, target, version = line.split(b" ")
    shown = b" ".join([method, mask_target(target, secrets), version])
    return [text.decode("latin-1") for text in (shown, *map(mask_line, block.split(b"\r\n") if block else []))]


def mask_target(target: bytes, secrets: frozenset[bytes]) -> bytes:
    """The target without secret path parameters, and without the values of query parameters that look like secrets."""
    path, mark, query = target.partition(b"?")
    shown = b"/".join([mask_segment(segment, secrets) for segment in path.split(b"/")])
    return shown + mark + b"&".join([_parameter(each) for each in query.split(b"&")])


def mask_segment(segment: bytes, secrets: frozenset[bytes]) -> bytes:
    """A path segment, unless it is one of `secrets` or looks like a key."""
    return REDACTED if segment.find(b"pk_") >= 0 or unquote_to_bytes(segment) in secrets else segment


def mask_line(line: bytes) -> bytes:
    """A field line; of one whose name tells of a credential only an authentication scheme is left."""
    name, _, value = line.partition(b":")
    if not tells(name):
        return line
    scheme, space, _ = value.strip().partition(b" ")
    kept = scheme + b" " if space and scheme.lower() in SCHEMES else b""
    return name + b": " + kept + MASK


def tells(name: bytes) -> bool:
    """Whether what is called so may be a credential."""
    lower = name.lower()
    return lower not in HARMLESS and any(word in lower for word in TELLING)


def _parameter(text: bytes) -> bytes:
    name, equals, value = text.partition(b"=")
    return name + equals + MASK if value and tells(name) else text
