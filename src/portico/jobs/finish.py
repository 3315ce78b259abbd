"""How attempts end, written many at a time. Each names the worker and the fence of its claim: whoever lost the job to
another writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, bindparam, case, insert, literal, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from portico.jobs import clock
from portico.jobs.claims import Claim
from portico.jobs.records import CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED, WAITING
from portico.storage.database import Database
from portico.storage.ids import now
from portico.storage.tables import AttemptRow, JobRow
from portico.storage.tables.base import Time

STOPPED: Final = "stopped"
LOST: Final = "lost"
DIED: Final = "its worker died"
LONGEST: Final = 500  # characters of an error
_JOBS: Final[Table] = JobRow.__table__  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. A `state` of WAITING or QUEUED means that there will be another, `delay` seconds later.

    `counts` is false for an attempt that was not the job's fault.
    """

    claim: Claim
    state: str
    result: dict[str, Any] | None = None
    error: str = ""
    delay: float = 0.0
    what: str = FAILED  # of an attempt that did not end the job: failed or stopped
    counts: bool = True


def succeeded(claim: Claim, result: dict[str, Any] | None) -> Outcome:
    """The job is done."""
    return Outcome(claim, SUCCEEDED, result)


def failed(claim: Claim, error: str, after: float | None) -> Outcome:
    """The attempt failed; None: it was the last."""
    if after is None:
        return Outcome(claim, FAILED, error=error[:LONGEST])
    return Outcome(claim, WAITING if after > 0 else QUEUED, error=error[:LONGEST], delay=after)


def cancelled(claim: Claim) -> Outcome:
    """Someone cancelled it."""
    return Outcome(claim, CANCELLED)


def stopped(claim: Claim) -> Outcome:
    """The worker stops: another may take the job at once."""
    return Outcome(claim, QUEUED, what=STOPPED, counts=False)


async def is_held(session: AsyncSession, claim: Claim) -> bool:
    """Whether the job is still the claim's worker's; its row stays so until the transaction ends."""
    mine = (
        (_JOBS.c.id == claim.id)
        & (_JOBS.c.fence == claim.fence)
        & (_JOBS.c.worker == claim.worker)
        & (_JOBS.c.state == RUNNING)
    )
    return await session.scalar(select(_JOBS.c.id).where(mine).with_for_update()) is not None


async def write(session: AsyncSession, db: Database, outcomes: Sequence[Outcome]) -> None:
    """Write how attempts ended."""
    plain = [each for each in outcomes if each.state == SUCCEEDED and each.result is None]
    over = [each for each in outcomes if each.state in (FAILED, CANCELLED) or each.result is not None]
    again = [each for each in outcomes if each.state in (WAITING, QUEUED)]
    moment = now()
    if plain:
        await _succeed(session, plain, moment)
    if over:
        values = [
            {**_mine(each), "b_state": each.state, "b_result": each.result, "b_error": each.error, "b_ended": moment}
            for each in over
        ]
        await (await session.connection()).execute(_END, values)
    if again:
        history = [
            {**_mine(each), "b_outcome": each.what, "b_error": each.error, "b_ended": moment}
            for each in again
            if each.what != STOPPED
        ]
        connection = await session.connection()
        if history:
            await connection.execute(_HISTORY, history)
        due = await clock.now(session, db)
        await connection.execute(
            _AGAIN,
            [
                {
                    **_mine(each),
                    "b_state": each.state,
                    "b_ended": moment,
                    "b_run_at": due + timedelta(seconds=each.delay) if each.state == WAITING else None,
                    "b_error": each.error,
                    "b_attempt": each.claim.attempt - (not each.counts),
                }
                for each in again
            ],
        )


async def _succeed(session: AsyncSession, outcomes: Sequence[Outcome], moment: datetime) -> None:
    """Write the most frequent outcome, all in one statement for each worker; a worker has no two claims of one job."""
    for worker in {each.claim.worker for each in outcomes}:
        ids = [each.claim.id for each in outcomes if each.claim.worker == worker]
        its = _JOBS.c.id.in_(ids) & (_JOBS.c.worker == worker) & (_JOBS.c.state == RUNNING)
        await session.execute(
            update(_JOBS).where(its).values(state=SUCCEEDED, ended_at=moment, error="", cancelling=False)
        )


def _mine(outcome: Outcome) -> dict[str, Any]:
    return {"b_id": outcome.claim.id, "b_fence": outcome.claim.fence, "b_worker": outcome.claim.worker}


def held() -> ColumnElement[bool]:
    """The condition that the job is still the worker's: of `b_id`, `b_fence` and `b_worker`."""
    return (
        (_JOBS.c.id == bindparam("b_id"))
        & (_JOBS.c.fence == bindparam("b_fence"))
        & (_JOBS.c.worker == bindparam("b_worker"))
        & (_JOBS.c.state == RUNNING)
    )


_END: Final = (
    update(_JOBS)
    .where(held())
    .values(
        state=bindparam("b_state"),
        result=bindparam("b_result", type_=_JOBS.c.result.type),
        error=bindparam("b_error"),
        ended_at=bindparam("b_ended", type_=Time),
        cancelling=False,
    )
)
_AGAIN: Final = (
    update(_JOBS)
    .where(held())
    .values(  # an attempt that fails while someone cancels the job is the last
        state=case((_JOBS.c.cancelling, CANCELLED), else_=bindparam("b_state")),
        run_at=case((_JOBS.c.cancelling, literal(None, Time)), else_=bindparam("b_run_at", type_=Time)),
        ended_at=case((_JOBS.c.cancelling, bindparam("b_ended", type_=Time)), else_=literal(None, Time)),
        cancelling=False,
        error=bindparam("b_error"),
        attempt=bindparam("b_attempt"),
        progress=None,
    )
)
_COLUMNS: Final = ("job_id", "fence", "attempt", "worker", "started_at", "outcome", "error", "ended_at")


def history(outcome: Any, error: Any, ended: Any, which: ColumnElement[bool]) -> Any:
    """An INSERT into the history of the running jobs that `which` picks."""
    columns = (_JOBS.c.id, _JOBS.c.fence, _JOBS.c.attempt, _JOBS.c.worker, _JOBS.c.started_at)
    return insert(AttemptRow.__table__).from_select(  # type: ignore[arg-type]
        _COLUMNS, select(*columns, outcome, error, ended).where(which)
    )


_HISTORY: Final = history(bindparam("b_outcome"), bindparam("b_error"), bindparam("b_ended", type_=Time), held())


async def free(session: AsyncSession, worker: str) -> None:
    """Take every job from a dead worker: queue it again, or cancel it when that was asked for."""
    its = (_JOBS.c.worker == worker) & (_JOBS.c.state == literal_column(f"'{RUNNING}'"))
    moment = literal(now(), Time)
    await session.execute(history(literal(LOST), literal(DIED), moment, its))
    state = case((_JOBS.c.cancelling, CANCELLED), else_=QUEUED)
    ended = case((_JOBS.c.cancelling, moment), else_=literal(None, Time))
    await session.execute(update(_JOBS).where(its).values(state=state, ended_at=ended, error=DIED, progress=None))


async def keep_only(session: AsyncSession, worker: str, known: Sequence[str]) -> None:
    """Queue the worker's jobs that it knows nothing of again: the answer to their claim was lost."""
    its = (_JOBS.c.worker == worker) & (_JOBS.c.state == literal_column(f"'{RUNNING}'"))
    lost = update(_JOBS).where(its, _JOBS.c.id.not_in(known))
    state = case((_JOBS.c.cancelling, CANCELLED), else_=QUEUED)
    ended = case((_JOBS.c.cancelling, literal(now(), Time)), else_=literal(None, Time))
    await session.execute(lost.values(state=state, ended_at=ended, attempt=_JOBS.c.attempt - 1))
