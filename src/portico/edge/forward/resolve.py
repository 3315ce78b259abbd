"""Names of targets: looked up when an upstream is built, and again as long as it is used."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from portico import contracts
from portico.edge.forward.background import Background

if TYPE_CHECKING:
    from portico.edge.forward.upstream import Upstream

Lookup = Callable[[str, int], Awaitable[list[str]]]

EVERY: Final = 30.0  # seconds between two lookups; getaddrinfo doesn't tell a record's TTL
AGAIN: Final = 1.0  # seconds, after a failed lookup, or when an address can't be reached
PATIENCE: Final = 5.0  # seconds that a lookup may take


class Resolver(Background):
    """Keeps the addresses of one upstream's names. A name that stops resolving keeps its last ones."""

    def __init__(self, upstream: Upstream, lookup: Lookup, every: float = EVERY, again: float = AGAIN) -> None:
        super().__init__(upstream)
        self.lookup = lookup
        self.every = every
        self.again = again
        self.targets = named(upstream.spec)
        self.wanted = asyncio.Event()

    def hurry(self) -> None:
        """An address could not be reached: the name may have another by now."""
        self.wanted.set()

    async def refresh(self) -> bool:
        """Look all names up once. False when one of them gave nothing."""
        complete = True
        for target in self.targets:
            try:
                async with asyncio.timeout(PATIENCE):
                    found = await self.lookup(target.host, target.port)
            except (OSError, TimeoutError, UnicodeError):
                found = []
            if found:
                self.upstream.place(target, sorted(found))
            else:
                complete = False
        return complete

    async def run(self) -> None:
        """Look up at once and ever again; until the first time is done, targets are dialled by name."""
        while True:
            complete = await self.refresh()
            await asyncio.sleep(self.again)
            if complete:
                await self._wanted(self.every - self.again)

    async def _wanted(self, seconds: float) -> None:
        self.wanted.clear()
        try:
            async with asyncio.timeout(seconds):
                await self.wanted.wait()
        except TimeoutError:
            return  # nobody was in a hurry


def named(spec: contracts.Upstream) -> list[contracts.Target]:
    """The targets that are given by a name."""
    return [target for target in spec.targets if target.host and not is_address(target.host)]


def is_address(host: str) -> bool:
    """Whether the host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class SystemLookup:
    """The system's resolver, asked without blocking the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    async def __call__(self, host: str, port: int) -> list[str]:
        """All addresses, each once; OSError when there are none."""
        found = await self.loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))
