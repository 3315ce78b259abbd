"""Calls to addresses that someone else chose: guarded at the moment of connecting, bounded in time, size and number.

What is checked is the address that a socket is about to connect to, whatever spelling, name or answer of a name server
led there; a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from portico import __version__
from portico.errors import (
    AddressRefused,
    ConnectTimeout,
    OutboundBusy,
    OutboundError,
    OutboundMalformed,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)
from portico.outbound.addresses import Guard, literal
from portico.outbound.answer import ACCEPTED, Answer, read
from portico.outbound.bounds import Bounds
from portico.outbound.meter import Meter, outcome
from portico.outbound.resolve import MOST, Lookup, SystemLookup
from portico.outbound.target import REDIRECTS, fields, parse, redirected
from portico.telemetry import tracing

if TYPE_CHECKING:
    import ssl

    import aiohttp
    from yarl import URL

REFUSED: Final = "the address may not be called"
PROXY: Final = Guard(allow_private=True)  # the operator's choice
METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
_HOST: ContextVar[str] = ContextVar("portico_outbound_host", default="")  # of the URL that a socket is made for


class Client:
    """An HTTP client for addresses that users supply (the default), or operators (`Guard(allow_private=True)`).

    It reads no proxies or credentials from the environment and keeps no cookies. `tls` replaces the system's
    authorities, `lookup` the system's resolver. `start` before the first call, `stop` after the last.

    With `proxy` (http://HOST:PORT) every call goes through it. Names are then looked up here and checked first, but the
    proxy looks them up once more, and connects: it must refuse private addresses itself.

    With `traced` whoever is called is told the trace (traceparent): for services of the operator's own.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        bounds: Bounds | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
        proxy: str = "",
        meter: Meter | None = None,
        traced: bool = False,
    ) -> None:
        self.guard = guard or Guard()
        self.bounds = bounds or Bounds()
        self._tls = tls
        self._proxy = proxy or None
        self._meter = meter or Meter()
        self._traced = traced
        self._lookup = lookup
        self._own_lookup: SystemLookup | None = None
        self._session: aiohttp.ClientSession | None = None
        self._started = False
        self._calls = 0

    async def start(self) -> None:
        """Make ready; opens no connection yet, and loads aiohttp with the first call only."""
        self._started = True
        if self._lookup is None and self._own_lookup is None:
            self._own_lookup = SystemLookup()

    async def stop(self) -> None:
        """Close every connection; a call in flight fails. May be called twice."""
        self._started = False
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._own_lookup is not None:
            self._own_lookup.close()
            self._own_lookup = None

    async def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        bounds: Bounds | None = None,
        purpose: str = "other",
    ) -> Answer:
        """GET; see `request`."""
        return await self.request("GET", url, headers=headers, bounds=bounds, purpose=purpose)

    async def check(self, url: str) -> None:
        """AddressRefused when the URL can't be called as things are now: its form, its host, where its name leads.

        It is checked again at each call. OutboundUnreachable when the name has no address, OutboundTimeout.
        """
        parsed = parse(url)
        self._known(parsed)
        try:
            async with asyncio.timeout(self.bounds.connect):
                await self._leads(parsed)
        except TimeoutError:
            raise OutboundTimeout("the name was not found in time") from None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        bounds: Bounds | None = None,
        purpose: str = "other",
        cut: bool = False,
    ) -> Answer:
        """One call, of any status, with its whole body. `bounds` may tighten those of the client for this call.

        With `cut` a body that is too large is cut there, not refused. `purpose`, one of few words, is for metrics and
        traces; of a trace strangers are told nothing.
        AddressRefused before a byte is sent, OutboundTimeout, OutboundUnreachable, OutboundBusy, OutboundTooLarge,
        OutboundMalformed; all are OutboundError.
        """
        began = time.perf_counter()
        said = "other"
        attributes = {"http.request.method": method, "portico.purpose": purpose}
        try:
            with tracing.span(f"{method} {purpose}", tracing.CLIENT, attributes) as span:
                if span is not None and self._traced:
                    headers = {**(headers or {}), "traceparent": tracing.traceparent()}
                answer = await self._bounded(method, url, headers, body, self._tightened(bounds), cut)
                said = outcome(answer.status)
                if span is not None:
                    span.attributes["http.response.status_code"] = answer.status
            return answer
        except OutboundError as error:
            said = outcome(error)
            raise
        finally:
            self._meter.add(purpose, said, time.perf_counter() - began)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            from portico.outbound.session import make

            lookup = self._lookup or self._own_lookup
            assert lookup is not None, "it has been started"
            self._session = make(self.bounds, self._socket, _First(lookup), self._tls)
        return self._session

    async def _bounded(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        limits: Bounds,
        cut: bool,
    ) -> Answer:
        if not self._started:
            raise OutboundUnreachable("the client has not been started")
        if method not in METHODS:
            raise ValueError(f"{method!r} is no method that can be called")
        if self._calls >= self.bounds.calls + self.bounds.waiting:
            raise OutboundBusy("too many calls are waiting for their turn")
        self._calls += 1
        try:
            async with asyncio.timeout(limits.total):
                return await self._follow(self._opened(), method, parse(url), fields(headers), body, limits, cut)
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
        cut: bool,
    ) -> Answer:
        for hop in range(bounds.redirects + 1):
            answer = await self._once(session, method, url, headers, body, bounds, cut)
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
        cut: bool,
    ) -> Answer:
        import aiohttp

        self._known(url)
        if self._proxy is not None:
            await self._leads(url)
        _HOST.set(url.raw_host or "")
        try:
            async with session.request(
                method,
                url,
                headers={"User-Agent": f"portico/{__version__}", **headers, "Accept-Encoding": ACCEPTED},
                data=body,
                allow_redirects=False,
                skip_auto_headers=("Content-Type",),
                proxy=self._proxy,
            ) as response:
                return await _answer(response, url, bounds, cut)
        except OutboundError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that is none (IDNA)
            _raise(error)

    def _known(self, url: URL) -> None:
        if not self.guard.knows(url.raw_host or ""):
            raise AddressRefused(REFUSED)

    async def _leads(self, url: URL) -> None:
        """Look the host up, and refuse it when any of its addresses may not be called."""
        host = url.raw_host or ""
        address = literal(host)
        addresses = [address] if address else await self._found(host, url.port or 0)
        if not all(self.guard.permits(address, host) for address in addresses):
            raise AddressRefused(REFUSED)

    async def _found(self, host: str, port: int) -> list[str]:
        lookup = self._lookup or self._own_lookup
        assert lookup is not None, "start comes first"
        try:
            addresses = await lookup(host, port)
        except (OSError, ValueError):
            addresses = []
        if not addresses:
            raise OutboundUnreachable("the host name has no address")
        return addresses[:MOST]

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for the address of a getaddrinfo entry, if it may be called."""
        family, kind, protocol, _, address = info
        text = str(address[0])
        if not (self.guard.permits(text, _HOST.get()) if self._proxy is None else PROXY.permits(text)):
            raise OSError(errno.EACCES, REFUSED)
        return socket.socket(family, kind, protocol)


class _First:
    """The first few addresses of a name: one with a thousand must not keep a call busy."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def __call__(self, host: str, port: int) -> list[str]:
        return (await self._lookup(host, port))[:MOST]


async def _answer(response: aiohttp.ClientResponse, url: URL, bounds: Bounds, cut: bool) -> Answer:
    if sum(len(name) + len(value) + 4 for name, value in response.raw_headers) > bounds.head:
        raise OutboundTooLarge(f"the answer's head is larger than {bounds.head} bytes")
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers)
    if response.method != "HEAD" and (response.content_length or 0) > bounds.body and not cut:
        raise OutboundTooLarge(f"the answer is larger than {bounds.body} bytes")
    coding = ",".join(value for name, value in headers if name == "content-encoding")
    body = await read(response.content.iter_any(), coding, bounds.body, cut)
    return Answer(response.status, headers, body, str(url))


def _raise(error: Exception) -> NoReturn:
    """The error of the library as one of ours, without its text: that names addresses."""
    import aiohttp

    if REFUSED in str(error) or isinstance(error, aiohttp.InvalidURL):
        raise AddressRefused(REFUSED) from None
    if isinstance(error, aiohttp.ClientSSLError):
        raise OutboundUnreachable("the TLS handshake failed: is the certificate valid for this host?") from None
    if isinstance(error, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError):
        raise OutboundUnreachable("the proxy did not let the call through") from None
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        raise OutboundUnreachable("the host name has no address") from None
    if isinstance(error, TimeoutError):
        raise ConnectTimeout("there was no connection in time") from None
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        raise OutboundMalformed("the answer is not proper HTTP, or breaks off") from None
    raise OutboundUnreachable("no connection could be made, or it broke") from None
