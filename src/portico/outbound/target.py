"""What may be asked for: the URL of a call, the fields it may carry, and where a redirect may lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from portico.errors import AddressRefused, OutboundMalformed

if TYPE_CHECKING:
    from yarl import URL

LONGEST: Final = 8192  # characters of a URL
REDIRECTS: Final = (301, 302, 303, 307, 308)
OURS: Final = frozenset(  # fields that the client writes itself
    [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "accept-encoding",
    ]
)
PERSONAL: Final = frozenset(["authorization", "cookie", "proxy-authorization", "x-api-key"])  # not for another origin


def parse(url: str) -> URL:
    """The URL of a call; AddressRefused when it is not an absolute http or https one without credentials."""
    from yarl import URL

    if len(url) > LONGEST or any(character <= " " or character == "\\" or character == "\x7f" for character in url):
        raise AddressRefused("the URL is too long, or has blanks or control characters in it")
    try:
        parts = urlsplit(url)
        parsed = URL(url, encoded=url.isascii())  # sent as it was given: it may be signed
        port = parsed.port
    except ValueError:
        raise AddressRefused("the URL can't be read") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or not port:
        raise AddressRefused("the URL must begin with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise AddressRefused("the URL must not carry credentials")
    return parsed.with_fragment(None)


def fields(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The fields of a call; ValueError names one that is the client's own affair or that has a line break in it."""
    result = dict(headers or {})
    for name, value in result.items():
        if name.lower() in OURS or any(c in "\r\n\0" for c in name + value):
            raise ValueError(f"the field {name!r} can't be set")
    return result


def redirected(url: URL, status: int, location: str, method: str, headers: dict[str, str]) -> tuple[URL, str, bool]:
    """The next URL and method after a redirect, and whether the body goes along; `headers` loses what is personal.

    OutboundMalformed when it leads nowhere or from https to http; AddressRefused like `parse`.
    """
    from yarl import URL

    try:
        target = parse(str(url.join(URL(location)))) if location else None
    except ValueError:
        target = None
    if target is None:
        raise OutboundMalformed("the answer is a redirect that leads nowhere")
    if url.scheme == "https" and target.scheme != "https":
        raise OutboundMalformed("the answer is a redirect from https to http")
    if target.origin() != url.origin():
        for name in [name for name in headers if name.lower() in PERSONAL]:
            del headers[name]
    if status == 303 or (status in (301, 302) and method == "POST"):  # RFC 9110 15.4
        return target, "HEAD" if method == "HEAD" else "GET", False
    return target, method, True
