"""Many jobs that succeed in one transaction, with the effects of each: as `Job.effect(finish=True)`, in groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession

from portico.jobs import finish
from portico.jobs.job import Job
from portico.jobs.records import RUNNING
from portico.storage.database import Database
from portico.storage.tables import JobRow

Ending = tuple[Job, dict[str, Any] | None]  # a job and its result


@asynccontextmanager
async def ending(session: AsyncSession, db: Database, endings: Sequence[Ending]) -> AsyncIterator[set[str]]:
    """Have these jobs succeed when the transaction is committed; the ids of those that are still this process's.

    Write the effects of these only: the others are somebody else's by now, and stay as they are.
    """
    mine = await _hold(session, [job for job, _ in endings])
    yield mine
    kept = [(job, result) for job, result in endings if job.id in mine]
    await finish.write(session, db, [finish.succeeded(job.claim, result) for job, result in kept])
    event.listen(session.sync_session, "after_commit", lambda _: _finished(kept), once=True)


def _finished(endings: Sequence[Ending]) -> None:
    for job, _ in endings:
        job.finished = True


async def _hold(session: AsyncSession, jobs: Sequence[Job]) -> set[str]:
    """Which jobs are still held; their rows stay as they are until the transaction ends."""
    wanted = select(JobRow.id, JobRow.fence, JobRow.worker).where(
        JobRow.id.in_([job.id for job in jobs]), JobRow.state == RUNNING
    )
    found = await session.execute(wanted.order_by(JobRow.id).with_for_update())
    rows = {id_: (fence, worker) for id_, fence, worker in found}
    return {job.id for job in jobs if rows.get(job.id) == (job.token, job.claim.worker)}
