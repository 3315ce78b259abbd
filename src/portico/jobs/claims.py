"""Claims: a worker takes jobs that are queued, in one statement that no two workers can do for the same job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, Update, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from portico.jobs import clock
from portico.jobs.jobs import is_in
from portico.jobs.records import QUEUED, RUNNING, WAITING
from portico.storage.database import Database
from portico.storage.ids import now
from portico.storage.tables import JobRow

PROMOTED: Final = 1000  # jobs whose time has come, at once


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker has claimed, as it was then."""

    id: str
    kind: str
    queue: str
    tenant: str
    owner: str
    payload: dict[str, Any]
    rank: int
    attempt: int  # 1 is the first
    fence: int
    worker: str
    started_at: datetime
    traceparent: str | None = None  # of what has enqueued it


async def take_these(session: AsyncSession, worker: str, ids: Sequence[str]) -> list[Claim]:
    """Claim those of these jobs that are queued; what somebody else has, or is about to have, is left out."""
    wanted = select(JobRow.id).where(is_in(QUEUED), JobRow.id.in_(ids))
    return [Claim(*row) for row in await session.execute(_claiming(wanted, worker, now()))]


async def take(session: AsyncSession, worker: str, queue: str, most: int) -> list[Claim]:
    """Claim at most `most` jobs of a queue: higher priorities first, older ones before younger."""
    found = await session.execute(statement(queue, most, worker, now()))
    claims = [Claim(*row) for row in found]
    return sorted(claims, key=lambda claim: (claim.rank, claim.id))


def statement(queue: str, most: int, worker: str, moment: datetime) -> Update:
    """The claim. PostgreSQL steps over what others are claiming; in SQLite nobody else writes meanwhile."""
    wanted = select(JobRow.id).where(is_in(QUEUED), JobRow.queue == queue).order_by(JobRow.rank, JobRow.id).limit(most)
    return _claiming(wanted, worker, moment)


def _claiming(wanted: Select[str], worker: str, moment: datetime) -> Update:
    picked = wanted.with_for_update(skip_locked=True).cte("picked")  # of a CTE the limit holds, whatever the plan
    changed = update(JobRow).where(JobRow.id.in_(select(picked.c.id))).execution_options(synchronize_session=False)
    return changed.values(
        state=RUNNING, worker=worker, attempt=JobRow.attempt + 1, fence=JobRow.fence + 1, started_at=moment
    ).returning(
        JobRow.id,
        JobRow.kind,
        JobRow.queue,
        JobRow.tenant_id,
        JobRow.owner,
        JobRow.payload,
        JobRow.rank,
        JobRow.attempt,
        JobRow.fence,
        JobRow.worker,
        JobRow.started_at,
        JobRow.traceparent,
    )


async def promote(session: AsyncSession, db: Database) -> int:
    """Queue those whose time has come; how many."""
    moment = await clock.now(session, db)
    due = select(JobRow.id).where(is_in(WAITING), JobRow.run_at <= moment).order_by(JobRow.run_at).limit(PROMOTED)
    picked = due.with_for_update(skip_locked=True).cte("picked")
    changed = update(JobRow).where(JobRow.id.in_(select(picked.c.id))).values(state=QUEUED, run_at=None)
    done = await session.execute(changed.execution_options(synchronize_session=False))
    return int(done.rowcount)  # type: ignore[attr-defined]


async def head(session: AsyncSession, queue: str, most: int) -> list[tuple[str, int]]:
    """The ids and fences of what is to be claimed first of a queue, in order."""
    found = select(JobRow.id, JobRow.fence).where(is_in(QUEUED), JobRow.queue == queue)
    return [(row[0], row[1]) for row in await session.execute(found.order_by(JobRow.rank, JobRow.id).limit(most))]


async def any_queued(session: AsyncSession, queues: Iterable[str]) -> bool:
    """Whether one of these queues has something to claim."""
    return await session.scalar(waiting_in(queues)) is not None


def waiting_in(queues: Iterable[str]) -> Select[str]:
    """One question for all queues: it is asked each second, by every process, also when there is nothing to do."""
    return select(JobRow.id).where(is_in(QUEUED), JobRow.queue.in_(sorted(queues))).limit(1)


async def next_due(session: AsyncSession, db: Database) -> float | None:
    """Seconds until the time of the next waiting job comes, 0 when it has; None: none waits."""
    first = await session.scalar(select(func.min(JobRow.run_at)).where(is_in(WAITING)))
    if first is None:
        return None
    return max(0.0, (first - await clock.now(session, db)).total_seconds())
