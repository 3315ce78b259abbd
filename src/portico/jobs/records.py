"""Jobs as others see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from portico.storage.tables import AttemptRow, JobRow

WAITING: Final = "waiting"  # for its time
QUEUED: Final = "queued"
RUNNING: Final = "running"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"  # a dead letter: nothing more happens unless someone asks for it
CANCELLED: Final = "cancelled"
STATES: Final = (WAITING, QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED)
ENDED: Final = (SUCCEEDED, FAILED, CANCELLED)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job. A higher `priority` goes first; `worker` is HOST/PID/number of whoever claimed it last."""

    id: str
    kind: str
    queue: str
    tenant: str
    owner: str
    state: str
    priority: int
    run_at: datetime | None
    payload: dict[str, Any]
    key: str
    schedule: str
    attempt: int
    worker: str
    cancelling: bool
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    error: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that did not end its job: `outcome` is failed, lost (its worker died) or stopped (was asked to)."""

    attempt: int
    worker: str
    outcome: str
    error: str
    started_at: datetime
    ended_at: datetime


def record(row: JobRow) -> JobRecord:
    """A row as others see it."""
    return JobRecord(
        id=row.id,
        kind=row.kind,
        queue=row.queue,
        tenant=row.tenant_id,
        owner=row.owner,
        state=row.state,
        priority=-row.rank,
        run_at=row.run_at,
        payload=row.payload,
        key=row.key or "",
        schedule=row.schedule_id or "",
        attempt=row.attempt,
        worker=row.worker or "",
        cancelling=row.cancelling,
        progress=row.progress,
        result=row.result,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def attempt(row: AttemptRow) -> Attempt:
    """A row as others see it."""
    return Attempt(row.attempt, row.worker, row.outcome, row.error, row.started_at, row.ended_at)
