"""What a worker asks and tells about the jobs that it has, while they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from portico.jobs.finish import held
from portico.jobs.job import Job
from portico.jobs.jobs import is_in
from portico.jobs.records import RUNNING
from portico.storage.database import Database
from portico.storage.tables import JobRow


async def cancelling(db: Database, worker: str) -> list[str]:
    """The ids of the worker's jobs that someone wants to end."""
    wanted = select(JobRow.id).where(is_in(RUNNING), JobRow.worker == worker, JobRow.cancelling)
    async with db.read() as session:
        return list(await session.scalars(wanted))


async def write_progress(db: Database, jobs: Sequence[Job]) -> None:
    """Write what jobs have told since the last time, if any has."""
    told = [(job, job.told) for job in jobs if job.told is not None]
    if not told:
        return
    for job, _ in told:
        job.told = None
    async with db.write() as session:
        await _write(session, told)


async def _write(session: AsyncSession, told: Sequence[tuple[Job, dict[str, Any]]]) -> None:
    from sqlalchemy import bindparam

    table: Any = JobRow.__table__
    change = update(table).where(held()).values(progress=bindparam("b_progress", type_=table.c.progress.type))
    values = [
        {"b_id": job.id, "b_fence": job.token, "b_worker": job.claim.worker, "b_progress": said} for job, said in told
    ]
    await (await session.connection()).execute(change, values)
