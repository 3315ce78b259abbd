"""Jobs over a database of either kind, and workers in this process, driven from tests that are no coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.unit.storage.kit import Store

from portico.jobs import Backoff, Handler, Handlers, Job, JobError, JobRecord, Jobs
from portico.jobs.attempts import Attempts
from portico.jobs.cpu import Processes
from portico.jobs.dispatcher import Dispatcher
from portico.jobs.wake import Wake
from portico.jobs.worker import Worker
from portico.storage.database import Database

PATIENCE = 20.0
QUICK = Backoff((0.01, 0.01), jitter=0.0)


class Bench:
    """What one process has: `Jobs` over `db`, the handlers, workers as many as are wanted."""

    def __init__(self, store: Store, db: Database | None = None) -> None:
        self.store = store
        self.db = db or store.db
        self.handlers = Handlers()
        self.wake = Wake(self.db)
        self.jobs = Jobs(self.db, self.handlers, self.wake)
        self.processes = Processes(1)

    def handle(self, kind: str, run: Callable[[Job], Awaitable[dict[str, Any] | None]] | str, **more: Any) -> None:
        """Add a handler."""
        self.handlers.add([Handler(kind, run, **{"backoff": QUICK, **more})], "test")

    def worker(self, lease: float = 1.2, **lanes: int) -> Worker:
        """A worker, not started."""
        attempts = Attempts(self.db, self.handlers, self.processes)
        return Worker(self.db, self.wake, attempts, lanes or {"default": 10}, lease)

    async def add(self, kind: str, payload: dict[str, Any] | None = None, **more: Any) -> str:
        """Enqueue in a transaction of its own."""
        async with self.db.write() as session:
            return await self.jobs.enqueue(session, kind, payload or {}, **more)

    async def get(self, id_: str) -> JobRecord:
        found = await self.jobs.get(id_)
        assert found is not None
        return found

    async def until(self, id_: str, *states: str) -> JobRecord:
        """The job, once it is in one of these states."""
        return await eventually(lambda: self._in(id_, states), f"{id_} in {states}")

    async def _in(self, id_: str, states: tuple[str, ...]) -> JobRecord | None:
        found = await self.get(id_)
        return found if found.state in states else None


async def eventually(look: Callable[[], Awaitable[Any]], what: str, patience: float = PATIENCE) -> Any:
    """What `look` answers, once it is true."""
    deadline = time.monotonic() + patience
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
        await asyncio.sleep(0.01)
    return found


async def true(what: Callable[[], object]) -> None:
    async def look() -> bool:
        return bool(what())

    await eventually(look, "a condition")


class Broker:
    """In place of a broker: keeps what it is sent, with room for `room` of a queue."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.kept: list[str] = []
        self.seen: list[str] = []
        self.down = False

    async def send(self, queue: str, jobs: Sequence[str]) -> int:
        if self.down:
            raise JobError("it is down")
        count = min(len(jobs), self.room - len(self.kept))
        self.kept += jobs[:count]
        self.seen += jobs[:count]
        return count

    def close(self) -> None:
        """Nothing is open."""


def dispatcher(bench: Bench, broker: Any, lease: float = 60.0) -> Dispatcher:
    return Dispatcher(bench.db, bench.wake, broker, ["default"], lease)
