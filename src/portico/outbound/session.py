"""The aiohttp session of a client. Imported when a client starts: aiohttp is heavy."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from portico.outbound.bounds import Bounds
    from portico.outbound.resolve import Lookup

FIELDS: Final = 128  # in an answer's head
IDLE: Final = 15.0  # seconds that an unused connection is kept


class _Resolver(AbstractResolver):
    """A lookup in the form that aiohttp asks."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of the name; OSError when there are none."""
        addresses = await self._lookup(host, port)
        if not addresses:
            raise OSError("the name has no address")
        return [_entry(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Nothing to close: the lookup is the client's."""


def _entry(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=socket.IPPROTO_TCP, flags=flags)


def make(
    bounds: Bounds, factory: Callable[[Any], socket.socket], lookup: Lookup, tls: ssl.SSLContext | None
) -> aiohttp.ClientSession:
    """A session whose every socket comes from `factory`."""
    connector = aiohttp.TCPConnector(
        limit=bounds.calls,
        limit_per_host=bounds.per_host,
        use_dns_cache=False,  # a connection is kept, a lookup is not
        resolver=_Resolver(lookup),
        socket_factory=factory,
        ssl=tls if tls is not None else True,
        keepalive_timeout=IDLE,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=bounds.connect),
        auto_decompress=False,
        trust_env=False,
        max_line_size=bounds.head,
        max_field_size=bounds.head,
        max_headers=FIELDS,
    )
