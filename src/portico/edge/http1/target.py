"""Request targets and Host (RFC 9112 section 3.2, RFC 3986): what may come, what is forwarded, what is matched."""

from __future__ import annotations

import socket
from typing import Final

from portico.edge.http1.errors import HeadError
from portico.edge.http1.names import others

LONGEST_TARGET: Final = 8 * 1024
LONGEST_HOST: Final = 255
TARGET: Final = bytes(byte for byte in range(0x21, 0x7F) if byte not in b'#"<>')
TARGETS: Final = others(TARGET)
PLAIN: Final = others(TARGET.translate(None, b"%.\\"))  # a path of these has nothing to decode or to resolve
ALNUM: Final = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
HOST_NAMES: Final = others(ALNUM + b"-._~")
HEX: Final = b"0123456789abcdefABCDEF"
ENCODED_SLASH: Final = b"%2F"

# Two hex digits → what the matched path has for them. Control characters are missing: they are refused.
DECODED: Final[dict[bytes, bytes]] = {
    bytes((high, low)): ENCODED_SLASH if byte == 0x2F else bytes((byte,))
    for high in HEX
    for low in HEX
    for byte in (int(bytes((high, low)), 16),)
    if byte >= 0x20 and byte != 0x7F
}


def check(target: bytes) -> None:
    """Refuse a request target that is too long (414), empty or has a byte that no URI has (400)."""
    if len(target) > LONGEST_TARGET:
        raise HeadError(414, "target_too_long", f"The request target is longer than {LONGEST_TARGET} bytes.")
    if not target or target.translate(TARGETS) != target:
        raise HeadError(400, "bad_target", "The request target has a character that must be percent-encoded.")


def normalise(raw: bytes) -> tuple[bytes, bytes]:
    """(path to forward, path to match) of an absolute path without its query.

    Dot segments are resolved in both (RFC 3986 section 5.2.4), and "%2e" counts as a dot. The forwarded path keeps its
    percent-encoding; the matched one is decoded once, but for "%2F", and has runs of slashes as one. Raises
    HeadError(400) for a wrong percent-encoding, an encoded control character, a backslash, or a dot segment that only
    appears when "%2F" or "%5C" is read as a slash or a ";" parameter is cut off, as some servers do.
    """
    match = raw
    if raw.translate(PLAIN) != raw:
        raw, match = _careful(raw)
    while match.find(b"//") >= 0:  # `in` raises and swallows an error inside CPython 3.11, and takes 1 µs
        match = match.replace(b"//", b"/")
    return raw, match


def _careful(raw: bytes) -> tuple[bytes, bytes]:
    """The same for a path with a dot, a percent-encoding or a backslash in it; runs of slashes are still there."""
    if b"\\" in raw:
        raise HeadError(400, "bad_target", "The path of the request target has a backslash in it.")
    encoded = b"%" in raw
    match = _decode(raw) if encoded else raw
    if encoded or b"/." in raw:
        path = _resolve(raw)
        if path is not raw:
            raw = path
            match = _decode(raw) if encoded else raw
    return raw, match


def _decode(path: bytes) -> bytes:
    parts = path.split(b"%")
    decoded = [parts[0]]
    for i in range(1, len(parts)):
        part = parts[i]
        byte = DECODED.get(part[:2])
        if byte is None:
            raise HeadError(400, "bad_target", "A % in the path must encode a byte that is no control character.")
        decoded.append(byte)
        decoded.append(part[2:])
    return b"".join(decoded)


def _resolve(path: bytes) -> bytes:
    """The path without its dot segments; the same object when it has none."""
    segments = path.split(b"/")
    resolved: list[bytes] = [b""]
    found = False
    last = b""
    for i in range(1, len(segments)):
        segment = last = segments[i]
        if segment[:1] == b"." or b"%" in segment or b";" in segment:
            last = _dots(segment)
        if last == b".":
            found = True
        elif last == b"..":
            found = True
            if len(resolved) > 1:
                resolved.pop()
        else:
            resolved.append(segment)
    if not found:
        return path
    if last == b"." or last == b"..":
        resolved.append(b"")
    return b"/".join(resolved) if len(resolved) > 1 else b"/"


def _dots(segment: bytes) -> bytes:
    """The segment with its dots decoded; refused when it hides a dot segment from us but perhaps not from others."""
    plain = segment.replace(b"%2e", b".").replace(b"%2E", b".")
    if plain == b"." or plain == b".." or b"." not in plain:
        return plain
    lower = plain.lower().replace(b"%2f", b"/").replace(b"%5c", b"/").replace(b"%3b", b";")
    for piece in lower.split(b"/"):
        cut = piece.find(b";")
        name = piece[:cut] if cut >= 0 else piece
        if name == b"." or name == b"..":
            raise HeadError(400, "bad_target", "The path has a dot segment hidden behind %2F, %5C or a semicolon.")
    return plain


def read_host(authority: bytes) -> bytes:
    """The host of `host[:port]`: lower-case, without port and final dot, an IPv6 address in its brackets.

    Raises HeadError(400) unless it is a name of letters, digits and -._~, an IPv4 or a bracketed IPv6 address, and the
    port (if any) a number up to 65535. Narrower than RFC 3986: no percent-encoding, no sub-delimiters.
    """
    if authority[:1] == b"[":
        end = authority.find(b"]") + 1
        host, port = authority[:end], authority[end:]
        good = end > 0 and _is_ipv6(host[1:-1])
    else:
        end = authority.find(b":")
        host, port = (authority[:end], authority[end:]) if end >= 0 else (authority, b"")
        if host[-1:] == b".":
            host = host[:-1]
        good = 0 < len(host) <= LONGEST_HOST and host.translate(HOST_NAMES) == host
        good = good and host[:1] != b"." and host[-1:] != b"." and b".." not in host
    if not good or not _is_port(port):
        raise HeadError(400, "bad_host", "The host must be a name or an address, with or without a port.")
    return host.lower()


def _is_ipv6(text: bytes) -> bool:
    if text.translate(None, HEX + b":."):
        return False
    try:
        socket.inet_pton(socket.AF_INET6, text.decode("ascii"))
    except OSError:
        return False
    return True


def _is_port(text: bytes) -> bool:
    """Whether `text` is empty, or a colon and a port that may be empty (RFC 3986 section 3.2.3)."""
    if not text:
        return True
    digits = text[1:]
    if text[:1] != b":" or len(digits) > 5:
        return False
    return not digits or (digits.isdigit() and int(digits) <= 65535)


def same_authority(one: bytes, other: bytes, port: bytes) -> bool:
    """Whether two authorities name the same host and port, `port` being the scheme's own."""
    return _full(one, port) == _full(other, port)


def _full(authority: bytes, port: bytes) -> bytes:
    colon = authority.rfind(b":")
    given = authority[colon + 1 :] if colon > authority.rfind(b"]") else b""
    return read_host(authority) + b":" + ((given.lstrip(b"0") or b"0") if given else port)
