"""Active health checks: each target is asked at an interval, and gets requests only while it answers well."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Final

from portico import contracts
from portico.edge.forward.background import Background
from portico.edge.forward.breaker import CLOSED
from portico.edge.forward.dial import dial
from portico.edge.http1.errors import HeadError
from portico.edge.http1.head import ResponseHead
from portico.edge.http1.names import Names

if TYPE_CHECKING:
    from portico.edge.forward.pool import Pool
    from portico.edge.forward.upstream import Upstream

LARGEST: Final = 64 * 1024  # bytes of a head


class Checker(Background):
    """Asks every pool of one upstream; a target is well when it answers 2xx or 3xx within the time."""

    def __init__(self, upstream: Upstream, spec: contracts.HealthCheck) -> None:
        super().__init__(upstream)
        self.spec = spec
        self.streaks: dict[Pool, int] = {}  # good answers in a row, or bad ones as negative numbers

    async def run(self) -> None:
        """Ask all targets, and again after the interval."""
        while True:
            pools = list(self.upstream.pools)
            self.streaks = {pool: self.streaks.get(pool, 0) for pool in pools}
            await asyncio.gather(*(self._check(pool) for pool in pools))
            await asyncio.sleep(self.spec.interval * random.uniform(0.9, 1.1))  # so that workers don't ask in step

    async def _check(self, pool: Pool) -> None:
        try:
            async with asyncio.timeout(self.spec.timeout):
                good = await ask(pool, self.spec.path)
        except (OSError, TimeoutError, UnicodeError):
            good = False
        self.note(pool, good, time.monotonic())

    def note(self, pool: Pool, good: bool, now: float) -> None:
        """One check's result."""
        streak = self.streaks.get(pool, 0)
        streak = max(streak, 0) + 1 if good else min(streak, 0) - 1
        self.streaks[pool] = streak
        if good and streak >= self.spec.healthy_after and not pool.well():
            self._restore(pool, now)
        elif not good and -streak >= self.spec.unhealthy_after and pool.healthy:
            pool.healthy = False
            pool.recovered = 0.0
            self.upstream.changed("gets no requests: its health check fails", pool)

    def _restore(self, pool: Pool, now: float) -> None:
        pool.healthy = True
        if pool.breaker.state != CLOSED:
            pool.breaker.close()
        pool.recover(now)
        self.upstream.changed("takes requests again: its health check is good", pool)


class Question:
    """One GET on a connection of its own."""

    def __init__(self, request: bytes, scratch: memoryview) -> None:
        self.request = request
        self.scratch = scratch
        self.buffer = b""
        self.transport: Any = None
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.scratch

    def buffer_updated(self, size: int) -> None:
        self.buffer += self.scratch[:size]
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0 and not self.status.done():
            self._read(self.buffer[:end])
            self.buffer = self.buffer[end + 4 :]
        if len(self.buffer) > LARGEST:
            self._tell(0)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        return

    def resume_writing(self) -> None:
        return

    def connection_lost(self, error: Exception | None) -> None:
        self._tell(0)

    def _read(self, raw: bytes) -> None:
        head = ResponseHead(Names())
        try:
            head.read(raw, b"GET")
        except HeadError:
            self._tell(0)
            return
        if head.status >= 200:
            self._tell(head.status)

    def _tell(self, status: int) -> None:
        if not self.status.done():
            self.status.set_result(status)


async def ask(pool: Pool, path: str) -> bool:
    """Whether the target answers 2xx or 3xx; OSError when it can't be reached."""
    request = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: portico-health\r\nConnection: close\r\n\r\n"
    question = await dial(
        pool.state.loop,
        pool.target,
        lambda: Question(request % (path.encode(), pool.authority), pool.state.scratch),
        pool.upstream.tls,
        pool.state.scratch,
        pool.address,
    )
    assert isinstance(question, Question)
    try:
        return 200 <= await question.status < 400
    finally:
        if question.transport is not None:
            question.transport.close()
