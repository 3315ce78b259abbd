"""How workers learn that there is something to do.

Within the process by an event, as soon as the transaction that enqueued is committed. Between processes by PostgreSQL's
NOTIFY, in the same transaction; with SQLite the others look once a second, which is also what a lost notice costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage import failures
from portico.storage.database import POSTGRESQL, Database
from portico.telemetry import logs

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

CHANNEL: Final = "portico_jobs"
CANCELLED: Final = "!"  # before the queue's name, in a notice that a job is to be cancelled
AGAIN: Final = 1.0  # seconds between attempts to connect
_PENDING: Final = "jobs.wake"

OnWake = Callable[[bool], None]  # told whether a job is to be cancelled


class Wake:
    """Tells, and passes on to those who asked to be told."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._told: list[OnWake] = []
        self._listening: asyncio.Task[None] | None = None

    def add(self, on_wake: OnWake) -> None:
        """Call `on_wake` when there is something to do."""
        self._told.append(on_wake)

    def remove(self, on_wake: OnWake) -> None:
        """Call it no more."""
        self._told.remove(on_wake)

    async def tell(self, session: AsyncSession, queues: Iterable[str], *, cancelled: bool = False) -> None:
        """Tell when the session's transaction is committed."""
        notices = {CANCELLED if cancelled else queue for queue in queues}
        pending: set[str] = session.info.setdefault(_PENDING, set())
        if not pending:
            event.listen(session.sync_session, "after_commit", self._committed, once=True)
        if self._db.dialect == POSTGRESQL:
            for notice in notices - pending:
                await session.execute(text(f"SELECT pg_notify('{CHANNEL}', :notice)"), {"notice": notice})
        pending |= notices

    def _committed(self, session: Session) -> None:
        notices: set[str] = session.info.pop(_PENDING, set())
        self.call(CANCELLED in notices)

    def call(self, cancelled: bool = False) -> None:
        """Tell those of this process now."""
        for on_wake in tuple(self._told):
            on_wake(cancelled)

    def start(self) -> None:
        """Listen for notices of other processes, where there are any."""
        if self._db.dialect == POSTGRESQL and self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Listen no more. May be called twice."""
        task, self._listening = self._listening, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        import asyncpg  # type: ignore[import-untyped]

        from portico.storage.postgresql import arguments

        while True:
            try:
                with failures.told():
                    connection = await asyncpg.connect(**arguments(self._db.url))
                    await self._until_lost(connection)
            except Exception as error:  # looking once a second goes on meanwhile
                logs.get("portico.jobs").warning("notices of jobs can't be heard", cause=str(error))
            await asyncio.sleep(AGAIN)

    async def _until_lost(self, connection: Any) -> None:
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, lambda *heard: self.call(heard[3] == CANCELLED))
            self.call()
            await lost.wait()
        finally:
            connection.terminate()
