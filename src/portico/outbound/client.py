"""Calls to addresses that someone else chose: guarded at the moment of connecting, bounded in time, size and number.

What is checked is the address that a socket is about to connect to, whatever spelling, name or answer of a name server
led there; a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from portico import __version__
from portico.errors import (
    AddressRefused,
    OutboundBusy,
    OutboundError,
    OutboundMalformed,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)
from portico.outbound.addresses import Guard
from portico.outbound.answer import ACCEPTED, Answer, read
from portico.outbound.bounds import Bounds
from portico.outbound.resolve import MOST, Lookup, SystemLookup
from portico.outbound.target import REDIRECTS, fields, parse, redirected

if TYPE_CHECKING:
    import ssl

    import aiohttp
    from yarl import URL

REFUSED: Final = "the address may not be called"
METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


class Client:
    """An HTTP client for addresses that users supply (the default), or operators (`Guard(allow_private=True)`).

    It reads no proxies or credentials from the environment and keeps no cookies. `tls` replaces the system's
    authorities, `lookup` the system's resolver. `start` before the first call, `stop` after the last.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        bounds: Bounds | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self.guard = guard or Guard()
        self.bounds = bounds or Bounds()
        self._tls = tls
        self._lookup = lookup
        self._own_lookup: SystemLookup | None = None
        self._session: aiohttp.ClientSession | None = None
        self._calls = 0

    async def start(self) -> None:
        """Make ready; opens no connection yet."""
        from portico.outbound.session import make

        if self._session is not None:
            return
        lookup = self._lookup
        if lookup is None:
            lookup = self._own_lookup = SystemLookup()
        self._session = make(self.bounds, self._socket, _First(lookup), self._tls)

    async def stop(self) -> None:
        """Close every connection; a call in flight fails. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._own_lookup is not None:
            self._own_lookup.close()
            self._own_lookup = None

    async def get(self, url: str, headers: Mapping[str, str] | None = None, bounds: Bounds | None = None) -> Answer:
        """GET; see `request`."""
        return await self.request("GET", url, headers=headers, bounds=bounds)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        bounds: Bounds | None = None,
    ) -> Answer:
        """One call, of any status, with its whole body. `bounds` may tighten those of the client for this call.

        AddressRefused before a byte is sent, OutboundTimeout, OutboundUnreachable, OutboundBusy, OutboundTooLarge,
        OutboundMalformed; all are OutboundError.
        """
        session = self._session
        if session is None:
            raise OutboundUnreachable("the client has not been started")
        if method not in METHODS:
            raise ValueError(f"{method!r} is no method that can be called")
        limits = self._tightened(bounds)
        if self._calls >= self.bounds.calls + self.bounds.waiting:
            raise OutboundBusy("too many calls are waiting for their turn")
        self._calls += 1
        try:
            async with asyncio.timeout(limits.total):
                return await self._follow(session, method, parse(url), fields(headers), body, limits)
        except TimeoutError:
            raise OutboundTimeout(f"there was no complete answer within {limits.total:g} s") from None
        finally:
            self._calls -= 1

    def _tightened(self, bounds: Bounds | None) -> Bounds:
        own = self.bounds
        if bounds is None:
            return own
        return replace(
            own,
            total=min(own.total, bounds.total),
            head=min(own.head, bounds.head),
            body=min(own.body, bounds.body),
            redirects=min(own.redirects, bounds.redirects),
        )

    async def _follow(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        headers: dict[str, str],
        body: bytes | None,
        bounds: Bounds,
    ) -> Answer:
        for hop in range(bounds.redirects + 1):
            answer = await self._once(session, method, url, headers, body, bounds)
            if answer.status not in REDIRECTS or not bounds.redirects:
                return answer
            if hop == bounds.redirects:
                break
            url, method, keeps_body = redirected(url, answer.status, answer.header("location"), method, headers)
            body = body if keeps_body else None
        raise OutboundMalformed(f"the answer is one redirect more than the {bounds.redirects} that are followed")

    async def _once(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        headers: dict[str, str],
        body: bytes | None,
        bounds: Bounds,
    ) -> Answer:
        import aiohttp

        try:
            async with session.request(
                method,
                url,
                headers={"User-Agent": f"portico/{__version__}", **headers, "Accept-Encoding": ACCEPTED},
                data=body,
                allow_redirects=False,
                skip_auto_headers=("Content-Type",),
            ) as response:
                return await _answer(response, url, bounds)
        except OutboundError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that is none (IDNA)
            _raise(error)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for the address of a getaddrinfo entry, if it may be called."""
        family, kind, protocol, _, address = info
        if not self.guard.permits(str(address[0])):
            raise OSError(errno.EACCES, REFUSED)
        return socket.socket(family, kind, protocol)


class _First:
    """The first few addresses of a name: one with a thousand must not keep a call busy."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def __call__(self, host: str, port: int) -> list[str]:
        return (await self._lookup(host, port))[:MOST]


async def _answer(response: aiohttp.ClientResponse, url: URL, bounds: Bounds) -> Answer:
    if sum(len(name) + len(value) + 4 for name, value in response.raw_headers) > bounds.head:
        raise OutboundTooLarge(f"the answer's head is larger than {bounds.head} bytes")
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers)
    if response.method != "HEAD" and (response.content_length or 0) > bounds.body:
        raise OutboundTooLarge(f"the answer is larger than {bounds.body} bytes")
    coding = ",".join(value for name, value in headers if name == "content-encoding")
    body = await read(response.content.iter_any(), coding, bounds.body)
    return Answer(response.status, headers, body, str(url))


def _raise(error: Exception) -> NoReturn:
    """The error of the library as one of ours, without its text: that names addresses."""
    import aiohttp

    if REFUSED in str(error) or isinstance(error, aiohttp.InvalidURL):
        raise AddressRefused(REFUSED) from None
    if isinstance(error, aiohttp.ClientSSLError):
        raise OutboundUnreachable("the TLS handshake failed: is the certificate valid for this host?") from None
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        raise OutboundUnreachable("the host name has no address") from None
    if isinstance(error, TimeoutError):
        raise OutboundTimeout("there was no connection in time") from None
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        raise OutboundMalformed("the answer is not proper HTTP, or breaks off") from None
    raise OutboundUnreachable("no connection could be made, or it broke") from None
