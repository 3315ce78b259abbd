"""Claims: a worker takes jobs that are queued, in one statement that no two workers can do for the same job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Integer, Select, Table, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from portico.jobs import clock
from portico.jobs.jobs import is_in
from portico.jobs.records import QUEUED, RUNNING, WAITING
from portico.storage.database import Database
from portico.storage.ids import now
from portico.storage.tables import JobRow
from portico.storage.tables.base import Time

PROMOTED: Final = 1000  # jobs whose time has come, at once
_JOBS: Final[Table] = JobRow.__table__  # type: ignore[assignment]
_CLAIMED: Final = (
    "id", "kind", "queue", "tenant_id", "owner", "payload", "rank", "attempt", "fence", "worker", "started_at",
    "traceparent",
)  # fmt: skip


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
    values = {"b_ids": ids, "b_worker": worker, "b_moment": now()}
    return [Claim(*row) for row in await session.execute(_TAKE_THESE, values)]


async def take(session: AsyncSession, worker: str, queue: str, most: int) -> list[Claim]:
    """Claim at most `most` jobs of a queue: higher priorities first, older ones before younger."""
    values = {"b_queue": queue, "b_most": most, "b_worker": worker, "b_moment": now()}
    claims = [Claim(*row) for row in await session.execute(_TAKE, values)]
    return sorted(claims, key=lambda claim: (claim.rank, claim.id))


def statement(queue: Any, most: Any, worker: Any, moment: Any) -> ReturningUpdate[Any]:
    """The claim. PostgreSQL steps over what others are claiming; in SQLite nobody else writes meanwhile."""
    wanted = select(_JOBS.c.id).where(is_in(QUEUED), _JOBS.c.queue == queue)
    return _claiming(wanted.order_by(_JOBS.c.rank, _JOBS.c.id).limit(most), worker, moment)


def _claiming(wanted: Select[Any], worker: Any, moment: Any) -> ReturningUpdate[Any]:
    picked = wanted.with_for_update(skip_locked=True).cte("picked")  # of a CTE the limit holds, whatever the plan
    changed = update(_JOBS).where(_JOBS.c.id.in_(select(picked.c.id)))
    one_more = {"attempt": _JOBS.c.attempt + 1, "fence": _JOBS.c.fence + 1}
    changed = changed.values(state=RUNNING, worker=worker, started_at=moment, **one_more)
    return changed.returning(*(_JOBS.c[name] for name in _CLAIMED))


# Made once: making them takes longer than the database takes for a claim.
_WHO: Final[tuple[Any, ...]] = (bindparam("b_worker"), bindparam("b_moment", type_=Time))
_TAKE: Final = statement(bindparam("b_queue"), bindparam("b_most", type_=Integer), *_WHO)
_THESE: Final = select(_JOBS.c.id).where(is_in(QUEUED), _JOBS.c.id.in_(bindparam("b_ids", expanding=True)))
_TAKE_THESE: Final = _claiming(_THESE, *_WHO)


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
