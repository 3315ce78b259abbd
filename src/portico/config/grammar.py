"""The words of HTTP as they may stand in the settings: paths, hosts, methods, fields, networks, permissions."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final
from urllib.parse import unquote

from portico.config.scalars import Parse, pattern

TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]"  # RFC 9110, section 5.6.2
HOST_PATTERN: Final = r"(?:\*\.)?(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*|\[[0-9A-Fa-f:.]+\]"
PATH_PATTERN: Final = r"^/[^?#\s]*$"
MAX_UNIX: Final = 107  # bytes; what Linux leaves of sun_path for a name and its NUL

_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})*\Z", re.ASCII)  # RFC 3986 pchar but "*"
_PARAM: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}\Z", re.ASCII)
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?\Z", re.ASCII)
_PERMISSION: Final = re.compile(r"\*|(?:[A-Za-z0-9_.-]+|\*)(?::(?:[A-Za-z0-9_.-]+|\*)){1,2}", re.ASCII)

# What is the edge's own in every message: fields of one connection, framing, routing, and who was proved to call.
FRAMING: Final = frozenset({"content-length", "transfer-encoding", "host"})
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "expect",
        "proxy-authenticate",
        "proxy-authorization",
    }
)
RESERVED_PREFIX: Final = "x-portico-"


def path(value: Any) -> str:
    """A path pattern: literal segments, whole-segment `{param}`, and `*` alone as the last segment."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("must be a path that begins with /")
    segments = value[1:].split("/")
    names = [segment for segment in segments if _PARAM.match(segment)]
    if len(names) != len(set(names)):
        raise ValueError("has the same {param} twice; give each its own name")
    for index, segment in enumerate(segments):
        _segment(segment, last=index == len(segments) - 1)
    return value


def _segment(segment: str, *, last: bool) -> None:
    if not segment and not last:
        raise ValueError("has an empty segment (//); requests are matched with runs of slashes as one")
    if segment == "*":
        if not last:
            raise ValueError("has a * before its end; only the last segment may be *")
    elif "{" in segment or "}" in segment:
        if not _PARAM.match(segment):
            raise ValueError("has a {param} that is not a whole segment of letters, digits and _")
    elif "*" in segment:
        raise ValueError("has a * inside a segment; only the last segment may be *, on its own")
    elif not _SEGMENT.match(segment):
        raise ValueError("has characters that a path can't have; write them percent-encoded (UTF-8)")
    elif unquote(segment) in (".", ".."):
        raise ValueError("has a dot segment; requests are matched with dot segments resolved")


def shape(value: str) -> tuple[str, ...]:
    """A path pattern as it is matched: literals percent-decoded (but for %2F), every param alike."""
    return tuple("{}" if _PARAM.match(segment) else decoded(segment) for segment in value[1:].split("/"))


def decoded(segment: str) -> str:
    """One literal segment, percent-decoded but for %2F."""
    return "%2F".join(unquote(part, errors="surrogateescape") for part in re.split("%2[fF]", segment))


def host(value: Any) -> str:
    """A host of requests, lower-case, without a port; `*.example.com` stands for one or more labels before it."""
    if not isinstance(value, str) or not re.fullmatch(HOST_PATTERN, value, re.ASCII) or len(value) > 253:
        raise ValueError("must be a host name without a port, such as api.example.com or *.example.com")
    if value.startswith("[") and not _is_ip(value[1:-1], 6):
        raise ValueError("must be an IPv6 address in brackets, such as [::1]")
    return value.lower()


def network(value: Any) -> str:
    """An IPv4 or IPv6 network or address, in its normal form."""
    try:
        if not isinstance(value, str):
            raise ValueError
        return str(ipaddress.ip_network(value))
    except ValueError:
        pass
    try:
        ipaddress.ip_network(value, strict=False)
    except (ValueError, TypeError):
        raise ValueError("must be a network or address, such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32") from None
    raise ValueError("has bits set behind its prefix length; write the network's first address")


def field_name(value: Any) -> str:
    """The name of a header field (RFC 9110, section 5.1)."""
    if not isinstance(value, str) or not re.fullmatch(TOKEN + "{1,256}", value, re.ASCII):
        raise ValueError("must be a header name: letters, digits and -")
    return value


def field_value(value: Any) -> str:
    """The value of a header field: printable ASCII, nothing at its ends that would be trimmed; may be empty."""
    if not isinstance(value, str) or (value and not _VALUE.match(value)):
        raise ValueError("must be text of printable ASCII without CR, LF or blanks at its ends; quote numbers")
    return value


def permission(value: Any) -> str:
    """`noun:verb[:instance]`, each of which may be `*`; or `*` alone for everything."""
    if not isinstance(value, str) or not _PERMISSION.fullmatch(value):
        raise ValueError("must be a permission such as users:read, users:read:42, users:* or *")
    return value


def unix_path(value: Any) -> str:
    """An absolute path of a Unix socket that fits into a socket address."""
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable() or value.endswith("/"):
        raise ValueError("must be the absolute path of a Unix socket")
    if len(value.encode()) > MAX_UNIX:
        raise ValueError(f"is longer than {MAX_UNIX} bytes, the most that a Unix socket's path can have")
    return value


def is_address(value: str) -> bool:
    """Whether this is an IPv4 or IPv6 address (without brackets)."""
    return _is_ip(value, 4) or _is_ip(value, 6)


def _is_ip(value: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(value).version == version and "%" not in value
    except ValueError:
        return False


def listen_host(value: Any) -> str:
    """An address to listen on: IPv4, IPv6 (without brackets), or a name."""
    if isinstance(value, str) and (is_address(value) or re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", value, re.ASCII)):
        return value
    raise ValueError("must be an address or name to listen on, such as 127.0.0.1, 0.0.0.0, :: or localhost")


Path = Annotated[str, Parse(path, {"type": "string", "pattern": PATH_PATTERN}, text=True)]
Host = Annotated[str, Parse(host, {"type": "string", "pattern": f"^(?:{HOST_PATTERN})$"}, text=True)]
ListenHost = Annotated[str, Parse(listen_host, {"type": "string", "minLength": 1}, text=True)]
UnixPath = Annotated[str, Parse(unix_path, {"type": "string", "pattern": "^/"}, text=True)]
Method = Annotated[str, pattern(r"[A-Z0-9!#$%&'*+.^_`|~-]{1,32}", "a method in capitals, such as GET")]
Network = Annotated[str, Parse(network, {"type": "string", "minLength": 2}, text=True)]
FieldName = Annotated[str, Parse(field_name, {"type": "string", "pattern": f"^{TOKEN}+$"}, text=True)]
FieldValue = Annotated[str, Parse(field_value, {"type": "string"}, text=True)]
Permission = Annotated[str, Parse(permission, {"type": "string", "pattern": f"^(?:{_PERMISSION.pattern})$"}, text=True)]
