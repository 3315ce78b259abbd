"""Who lives, among the processes that run jobs.

A worker with jobs adds one to its row's `beat` every sixth of a lease. Whoever finds another's beat unchanged six looks
in a row, a sixth of a lease apart, takes its jobs from it. No clock is compared with another, so none that jumps can
take a job from a living worker, or keep a dead one's. A worker that was only paused finds its row gone, and nothing
that it writes about its old jobs is taken.
"""

from __future__ import annotations

import os
import secrets
import socket
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from portico.jobs import finish
from portico.jobs.jobs import is_in
from portico.jobs.records import RUNNING
from portico.storage.database import Database
from portico.storage.ids import now
from portico.storage.tables import JobRow, WorkerRow

LOOKS: Final = 6  # in a lease
NEVER: Final = -1  # the beat of a worker that has no row
FORGOTTEN: Final = timedelta(days=1)


def name() -> str:
    """A new worker's name: HOST/PID/number, so that people find the process and no two are the same."""
    return f"{socket.gethostname()[:100]}/{os.getpid()}/{secrets.token_hex(4)}"


class Peers:
    """Beats for one worker, and looks after the others."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._seen: dict[str, tuple[int, int]] = {}  # worker → its beat, and how many looks found it so

    @staticmethod
    async def register(session: AsyncSession, worker: str) -> None:
        """Make the worker's row, in the transaction of its first claim."""
        await session.execute(insert(WorkerRow).values(id=worker, beat=0, seen_at=now()))

    @staticmethod
    async def leave(session: AsyncSession, worker: str) -> None:
        """Remove the worker's row."""
        await session.execute(delete(WorkerRow).where(WorkerRow.id == worker))

    async def beat(self, worker: str) -> bool:
        """Say that the worker lives; False: it was taken for dead, and its jobs are others' now."""
        change = update(WorkerRow).where(WorkerRow.id == worker).values(beat=WorkerRow.beat + 1, seen_at=now())
        async with self._db.write() as session:
            done = await session.execute(change.execution_options(synchronize_session=False))
        return int(done.rowcount) == 1  # type: ignore[attr-defined]

    async def look(self, worker: str) -> list[str]:
        """Look once at all but `worker`; the dead, whose jobs are queued again."""
        wanted = select(JobRow.worker, WorkerRow.beat).where(is_in(RUNNING), JobRow.worker != worker)
        wanted = wanted.outerjoin(WorkerRow, WorkerRow.id == JobRow.worker).distinct()
        async with self._db.read() as session:
            found = {str(row[0]): NEVER if row[1] is None else int(row[1]) for row in await session.execute(wanted)}
        seen: dict[str, tuple[int, int]] = {}
        for each, beat in found.items():
            before, looks = self._seen.get(each, (beat, 0))
            seen[each] = (beat, looks + 1 if before == beat else 1)
        self._seen = seen
        silent = {each: beat for each, (beat, looks) in seen.items() if looks >= LOOKS}
        return [each for each, beat in silent.items() if await self._bury(each, beat)]

    async def _bury(self, worker: str, beat: int) -> bool:
        """Take the worker's jobs from it, unless it has stirred; its row goes first, so that only one other does it."""
        async with self._db.write() as session:
            gone = delete(WorkerRow).where(WorkerRow.id == worker, WorkerRow.beat == beat)
            done = await session.execute(gone.execution_options(synchronize_session=False))
            if beat == NEVER:
                if await session.scalar(select(WorkerRow.id).where(WorkerRow.id == worker)) is not None:
                    return False
            elif int(done.rowcount) != 1:  # type: ignore[attr-defined]
                return False
            await finish.free(session, worker)
        del self._seen[worker]
        return True

    async def tidy(self) -> None:
        """Remove rows of workers that have been silent for a day and have no jobs."""
        busy = select(JobRow.worker).where(is_in(RUNNING), JobRow.worker.is_not(None))
        old = delete(WorkerRow).where(WorkerRow.seen_at < now() - FORGOTTEN, WorkerRow.id.not_in(busy))
        async with self._db.write() as session:
            await session.execute(old.execution_options(synchronize_session=False))
