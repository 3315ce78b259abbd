"""One connection to Redis that all callers of a process share: commands go out together, answers come back in order.

No caller waits longer than `wait`. A call that hears nothing for so long suspends the link, as do several late ones in
a row: from then on calls fail at once, while one probe at a time finds out when the server answers in time again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from portico.errors import StateUnavailable
from portico.state.connections import CONNECT, Backoff, Connector, close, connect, encode
from portico.state.store import StoreHealth
from portico.telemetry import tracing

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

AWAY: Final = "away"  # no connection
OPEN: Final = "open"  # calls are taken
SUSPECT: Final = "suspect"  # there is a connection, but no answer in time
LATE: Final = 5  # calls in a row that time out until the link is suspended
STALLED: Final = 1.0  # seconds without the answers that are due, after which the connection is given up
MOST_PENDING: Final = 10_000  # calls
MOST_UNSENT: Final = 64 * 1024 * 1024  # bytes
GRACE: Final = 0.005  # seconds: when the loop itself was late, answers that have come are read first
PING: Final = encode([b"PING"])


class _Call:
    """A command whose answer is awaited; a probe is never `due`."""

    __slots__ = ("answer", "due", "sent")

    def __init__(self, answer: asyncio.Future[Any], sent: float, due: float = inf) -> None:
        self.answer = answer
        self.sent = sent
        self.due = due


class Link:
    """Keeps the connection; `greet` are commands that go out first on each new one."""

    def __init__(
        self,
        connector: Connector,
        wait: float,
        greet: Callable[[], Sequence[bytes]],
        on_change: Callable[[bool], None],
    ) -> None:
        self.state = AWAY
        self.error = f"no connection to Redis at {connector.where} yet"
        self.latency = 0.0
        self._connector = connector
        self._wait = wait
        self._greet = greet
        self._on_change = on_change
        self._pending: deque[_Call] = deque()
        self._out: list[bytes] = []
        self._unsent = 0
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._suspected = asyncio.Event()
        self._first = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._graced: _Call | None = None  # whose time is over, though the loop was late itself
        self._heard = 0.0
        self._late = 0
        self._backoff = Backoff()
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Event:
        """Begin to connect; the event is set when the first attempt has ended, well or not."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        return self._first

    async def stop(self) -> None:
        """Give up the connection; may be called twice."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def call(self, *parts: bytes) -> Any:
        """The answer to one command; StateUnavailable. An error that Redis answers is raised as redis-py has it."""
        if self.state != OPEN:
            raise StateUnavailable(self.error)
        command = encode(parts)
        if len(self._pending) >= MOST_PENDING or self._unsent + len(command) > MOST_UNSENT:
            raise StateUnavailable("too much is asked of Redis at once")
        name = parts[0].decode()
        with tracing.span(name, tracing.CLIENT, {"db.system.name": "redis", "db.operation.name": name}):
            answer = await self._send(command)
            if isinstance(answer, Exception):
                raise answer
        return answer

    def health(self) -> StoreHealth:
        """How it stands."""
        return StoreHealth(self.state == OPEN, self.latency, "" if self.state == OPEN else self.error)

    def _send(self, command: bytes) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        now = loop.time()
        call = _Call(loop.create_future(), now, now + self._wait)
        self._pending.append(call)
        self._out.append(command)
        self._unsent += len(command)
        self._wake.set()
        if self._timer is None:
            self._timer = loop.call_at(call.due, self._expire)
        return call.answer

    def _expire(self) -> None:
        """The oldest call has waited its time."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        waiting = [call for call in self._pending if call.due < inf and not call.answer.done()]
        if not waiting:
            return
        if now > waiting[0].due + GRACE and self._graced is not waiting[0]:
            self._graced = waiting[0]
            self._timer = loop.call_at(now + GRACE, self._expire)
            return
        for call in waiting:
            if call.due > now:
                self._timer = loop.call_at(call.due, self._expire)
                break
            self._late += 1
            if self._late >= LATE or self._heard < call.sent:
                self._suspect()
            call.answer.set_exception(StateUnavailable(self._slow()))

    def _slow(self) -> str:
        return f"Redis at {self._connector.where} did not answer within {self._wait * 1000:g} ms"

    def _suspect(self) -> None:
        if self.state == OPEN:
            self.state = SUSPECT
            self.error = self._slow()
            self._suspected.set()
            self._on_change(False)

    def _opened(self) -> None:
        self._late = 0
        self._suspected.clear()
        self.state = OPEN
        self._first.set()
        self._on_change(True)

    async def _keep(self) -> None:
        while True:
            try:
                await self._session()
            except asyncio.CancelledError:
                self._lost(StateUnavailable("the store has been stopped"), tell=False)
                raise
            except Exception as error:
                self._lost(error)
            self._first.set()
            await asyncio.sleep(self._backoff.pause())

    async def _session(self) -> None:
        connection = self._connector.make()
        tasks: list[asyncio.Task[None]] = []
        try:
            await connect(connection)
            self._heard = asyncio.get_running_loop().time()
            tasks = [asyncio.create_task(each) for each in (self._write(connection), self._read(connection))]
            tasks.append(asyncio.create_task(self._watch()))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await close(connection)

    def _lost(self, error: Exception, tell: bool = True) -> None:
        tell = tell and self.state == OPEN
        self.state = AWAY
        self.error = self._connector.sentence(error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending = self._pending, deque()
        self._out.clear()
        self._unsent = 0
        for call in pending:
            if not call.answer.done():
                call.answer.set_exception(StateUnavailable(self.error))
        if tell:
            self._on_change(False)

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            out, self._out = self._out, []
            if out:
                await connection.send_packed_command(b"".join(out), check_health=False)
                self._unsent -= sum(map(len, out))

    async def _read(self, connection: AbstractConnection) -> None:
        from redis.exceptions import ResponseError

        loop = asyncio.get_running_loop()
        while True:
            answer: Any
            try:
                answer = await connection.read_response(
                    disable_decoding=True, timeout=float("inf"), disconnect_on_error=False
                )
            except ResponseError as error:
                answer = error
            self._heard = loop.time()
            call = self._pending.popleft()
            if not call.answer.done():
                if call.due < inf:  # a server that answers probes alone is not well
                    self._late = 0
                    self._backoff.reset()
                self.latency = self._heard - call.sent
                call.answer.set_result(answer)
            if not self._pending:
                self._drained.set()

    async def _watch(self) -> None:
        """Open the link when the server answers in time; look again whenever it is suspended."""
        await self._probe(CONNECT, self._greet())
        self._opened()
        while True:
            await self._suspected.wait()
            await self._answered()
            while not await self._is_quick():
                await asyncio.sleep(self._backoff.pause())
            self._opened()

    async def _answered(self) -> None:
        """Wait until all that was asked has been answered; TimeoutError when the connection seems dead."""
        async with asyncio.timeout(max(STALLED, self._wait * 4)):
            while self._pending:
                self._drained.clear()
                await self._drained.wait()

    async def _is_quick(self) -> bool:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._probe(max(STALLED, self._wait * 4))
        return loop.time() - began <= self._wait

    async def _probe(self, patience: float, before: Sequence[bytes] = ()) -> None:
        """Ask whether it is there; an error that it answers is raised, as is TimeoutError."""
        loop = asyncio.get_running_loop()
        calls = [_Call(loop.create_future(), loop.time()) for _ in (*before, PING)]
        self._pending.extend(calls)
        self._out.extend((*before, PING))
        self._unsent += sum(map(len, (*before, PING)))
        self._wake.set()
        async with asyncio.timeout(patience):
            answers = await asyncio.gather(*(call.answer for call in calls))
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
