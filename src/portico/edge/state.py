"""What all connections of one edge worker share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from portico.edge.http1.names import Names
from portico.edge.plan import Plan
from portico.edge.record import Recorder

if TYPE_CHECKING:
    from portico.edge.client import ClientConnection
    from portico.edge.tracing.trace import Tracer

READ_SIZE: Final = 64 * 1024  # bytes a read; uvloop would read up to 256,000 otherwise


class EdgeState:
    """The current plan, the shared read buffer, the clock's texts and the counters of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, plan: Plan, recorder: Recorder) -> None:
        self.loop = loop
        self.plan = plan
        self.recorder = recorder
        self.names = Names()
        self.scratch = memoryview(bytearray(READ_SIZE))  # a read is copied out before another connection reads
        self.connections: set[ClientConnection] = set()
        self.in_flight = 0
        self.buffered = 0  # bytes that wait for clients and upstreams, as of the last sweep
        self.draining = False
        self.on_idle: Callable[[], None] | None = None  # told, while draining, that the last connection has closed
        self.failed: Callable[[str, BaseException, str], None] | None = None  # told of errors nobody expected
        self.principal_key = b""
        self.tracer: Tracer | None = None  # while tracing is on
        self.second = 0
        self.date = b""
        self.tasks: set[asyncio.Task[Any]] = set()

    def date_line(self, wall: float) -> bytes:
        """The Date field (RFC 9110 6.6.1), made once a second."""
        second = int(wall)
        if second != self.second:
            self.second = second
            self.date = time.strftime("\r\nDate: %a, %d %b %Y %H:%M:%S GMT", time.gmtime(second)).encode()
        return self.date

    def spawn(self, work: Any) -> None:
        """Run a coroutine to its end in the background."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def trouble(self, what: str, error: BaseException, request_id: bytes) -> None:
        """Tell the log of an error that nobody expected, and which request met it."""
        if self.failed is not None:
            self.failed(what, error, request_id.decode("latin-1"))
