"""Makes the jobs of schedules when they are due.

Every process that runs jobs does it; for each due time one of them makes the job, and moves the schedule on in the same
transaction. So a time is neither lost nor run twice, whichever process is killed when. Times pass while the schedule's
owner is disabled.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import StorageError
from portico.jobs import clock, due
from portico.jobs.jobs import Jobs, New
from portico.jobs.records import QUEUED, RUNNING, WAITING
from portico.jobs.schedules import timing
from portico.storage.accounts import standing
from portico.storage.database import Database
from portico.storage.tables import JobRow, ScheduleRow
from portico.telemetry import logs

LOOK: Final = 1.0  # seconds between two looks, at most
AGAIN: Final = 1.0  # seconds after the database could not be used
LATE: Final = timedelta(seconds=60)  # a time is missed when nobody has looked for so long
CATCH_UP: Final = 100  # missed times that `all` makes up for, the newest
AT_ONCE: Final = 100  # schedules in one look
MEND: Final = 60.0  # seconds between looks for schedules that a wrong clock has put far off
FAR: Final = 1000  # schedules in such a look


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a schedule that is due: run it for the time `run` (None: not), and move it to `next_at`."""

    run: datetime | None
    next_at: datetime | None
    skipped: bool = False


class Clockwork:
    """Looks after all schedules, from `start` to `stop`."""

    def __init__(self, db: Database, jobs: Jobs) -> None:
        self._db = db
        self._jobs = jobs
        self._task: asyncio.Task[None] | None = None
        self._mended = 0.0

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; may be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                wait = await self.turn()
            except StorageError as error:
                logs.get("portico.jobs").warning("schedules wait for the database", cause=str(error))
                wait = AGAIN
            except Exception as error:  # a mistake of our own must not end all schedules
                logs.get("portico.jobs").error("the schedules failed; they go on", exc_info=error)
                wait = AGAIN
            await asyncio.sleep(wait)

    async def turn(self) -> float:
        """Make the jobs that are due; the seconds until the next look."""
        async with self._db.read() as session:
            moment = await clock.now(session, self._db)
            ready = select(ScheduleRow.id).where(ScheduleRow.next_at <= moment).order_by(ScheduleRow.next_at)
            ids = list(await session.scalars(ready.limit(AT_ONCE)))
            first = await session.scalar(select(func.min(ScheduleRow.next_at)).where(ScheduleRow.next_at > moment))
        more = False
        for id_ in ids:
            async with self._db.write() as session:
                more |= await self._fire(session, id_)
        if asyncio.get_running_loop().time() - self._mended > MEND:
            self._mended = asyncio.get_running_loop().time()
            await self._mend()
        if more or len(ids) == AT_ONCE:
            return 0.0
        return min(LOOK, max(0.0, (first - moment).total_seconds())) if first is not None else LOOK

    async def _fire(self, session: AsyncSession, id_: str) -> bool:
        """One due time of a schedule, unless another process was quicker; whether the next has come as well."""
        moment = await clock.now(session, self._db)
        wanted = select(ScheduleRow).where(ScheduleRow.id == id_, ScheduleRow.next_at <= moment, ~ScheduleRow.paused)
        row = await session.scalar(wanted.with_for_update(skip_locked=True))
        if row is None:
            return False
        if await standing.disabled(session, [row.owner]):
            row.next_at = due.following(timing(row), moment)
            row.skipped += 1
            return False
        step = decide(timing(row), row.missed, row.next_at or moment, moment, busy=await self._busy(session, row))
        row.next_at = step.next_at
        row.skipped += step.skipped
        if step.run is None:
            return False
        key = f"schedule:{row.id}:{step.run.isoformat()}"  # a clock that goes back does not run a time again
        delay = random.uniform(0, row.jitter) if row.jitter else 0.0
        made = New(row.kind, row.payload, row.tenant_id, row.owner, delay=delay, key=key, schedule=row.id)
        row.last_job = (await self._jobs.enqueue_many(session, [made]))[0]
        row.last_at = step.run
        return step.next_at is not None and step.next_at <= moment

    async def _busy(self, session: AsyncSession, row: ScheduleRow) -> bool:
        if row.last_job is None:
            return False
        state = await session.scalar(select(JobRow.state).where(JobRow.id == row.last_job))
        return state in (WAITING, QUEUED, RUNNING)

    async def _mend(self) -> None:
        """Bring back schedules whose next time lies behind the one after now: they were moved on by a wrong clock."""
        async with self._db.read() as session:
            moment = await clock.now(session, self._db)
            far = select(ScheduleRow).where(ScheduleRow.next_at > moment).order_by(ScheduleRow.next_at.desc())
            rows = (await session.scalars(far.limit(FAR))).all()
        for far_off in rows:
            right = due.following(timing(far_off), moment)
            if right is None or far_off.next_at is None or far_off.next_at <= right:
                continue
            async with self._db.write() as session:
                row = await session.get(ScheduleRow, far_off.id, with_for_update=True)
                if row is not None and row.next_at == far_off.next_at:
                    row.next_at = right


def decide(times: due.Timing, missed: str, first: datetime, moment: datetime, *, busy: bool) -> Step:
    """What follows for a schedule whose time `first` has come by `moment`; `busy`: the job before is not over."""
    after = due.following(times, moment)
    if missed == "all":
        pending = due.preceding(times, moment, first, CATCH_UP) or [first]
        if busy:
            return Step(None, pending[0])  # each has its turn when the one before it is over
        return Step(pending[0], pending[1] if len(pending) > 1 else after, pending[0] > first)
    if busy:
        return Step(None, after, skipped=True)
    if moment - first <= LATE:
        return Step(first, due.following(times, first))
    if missed == "skip":
        return Step(None, after, skipped=True)
    return Step((due.preceding(times, moment, first, 1) or [first])[0], after)
