"""What goes in and out of the paths of jobs and schedules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from portico.jobs.records import Attempt, JobRecord
from portico.jobs.schedules import ScheduleRecord
from portico.services.values import Body, Label
from portico.services.views import Moment, View

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=64)]
Cron = Annotated[str, Field(pattern=r"^[\x20-\x7e]+$", min_length=9, max_length=100)]
Zone = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]+$", max_length=64, description="Such as Europe/Berlin")]
Every = Annotated[float, Field(ge=1, le=366 * 86400, description="Seconds from one time to the next")]
Jitter = Annotated[float, Field(ge=0, le=86400, description="Seconds by which a run may be later, at random")]
State = Literal["waiting", "queued", "running", "succeeded", "failed", "cancelled"]
Missed = Annotated[
    Literal["skip", "once", "all"],
    Field(description="What to do about times that came while nothing ran: nothing, one run, or each (the last 100)"),
]


class NewTask(Body):
    """A schedule to make: `cron` in a time zone, or `every_seconds`."""

    name: Label
    kind: Kind = Field(description="What to do; a refusal names the kinds that there are")
    payload: dict[str, Any] = Field(default_factory=dict, description="What the kind takes, as JSON")
    cron: Cron | None = Field(default=None, description="Five fields, or six with seconds before them")
    time_zone: Zone = "UTC"
    every_seconds: Every | None = None
    jitter_seconds: Jitter = 0
    missed: Missed = "once"
    paused: bool = False
    tenant: str | None = Field(default=None, description="Another tenant, where the caller may act for it")


class TaskChange(Body):
    """What to change about a schedule; what is left out stays."""

    name: Label | None = None
    payload: dict[str, Any] | None = None
    cron: Cron | None = None
    time_zone: Zone | None = None
    every_seconds: Every | None = None
    jitter_seconds: Jitter | None = None
    missed: Missed | None = None
    paused: bool | None = None


class TaskView(View):
    """A schedule."""

    id: str
    name: str
    kind: str
    payload: dict[str, Any]
    tenant: str
    owner: str | None
    cron: str | None
    time_zone: str
    every_seconds: float | None
    jitter_seconds: float
    missed: str
    paused: bool
    suspended: bool = Field(description="Its owner is disabled: nothing is run until the owner is enabled again")
    next_at: Moment | None = Field(description="null: paused, or never again")
    last_at: Moment | None = Field(description="The last time that was run")
    last_job: str | None
    skipped: int = Field(description="How often a time was let pass: missed, suspended, or the run before was not over")
    created_at: Moment


class JobView(View):
    """A job."""

    id: str
    kind: str
    queue: str
    tenant: str
    owner: str | None
    state: State
    priority: int
    run_at: Moment | None = Field(description="Of a waiting one: when it is queued")
    attempt: int
    worker: str | None = Field(description="HOST/PID/number of the process that claimed it last")
    cancelling: bool
    progress: dict[str, Any] | None
    error: str | None
    schedule: str | None
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None


class AttemptView(View):
    """An attempt before the last."""

    attempt: int
    worker: str
    outcome: str = Field(description="failed, or lost: its worker died")
    error: str
    started_at: Moment
    ended_at: Moment


class JobDetail(JobView):
    """A job, with what it was given and what came of it."""

    payload: dict[str, Any]
    key: str | None
    result: dict[str, Any] | None
    attempts: list[AttemptView]


class Run(View):
    """A run that was asked for."""

    job: str


def task_view(record: ScheduleRecord) -> TaskView:
    """The view of a schedule."""
    return TaskView(
        id=record.id,
        name=record.name,
        kind=record.kind,
        payload=record.payload,
        tenant=record.tenant,
        owner=record.owner or None,
        cron=record.cron or None,
        time_zone=record.zone,
        every_seconds=record.every or None,
        jitter_seconds=record.jitter,
        missed=record.missed,
        paused=record.paused,
        suspended=record.suspended,
        next_at=record.next_at,
        last_at=record.last_at,
        last_job=record.last_job or None,
        skipped=record.skipped,
        created_at=record.created_at,
    )


def job_view(record: JobRecord) -> JobView:
    """The view of a job in a list."""
    return JobView(**_job(record))


def job_detail(record: JobRecord, attempts: list[Attempt]) -> JobDetail:
    """The view of one job."""
    history = [
        AttemptView(
            attempt=each.attempt,
            worker=each.worker,
            outcome=each.outcome,
            error=each.error,
            started_at=each.started_at,
            ended_at=each.ended_at,
        )
        for each in attempts
    ]
    more: dict[str, Any] = {
        "payload": record.payload,
        "key": record.key or None,
        "result": record.result,
        "attempts": history,
    }
    return JobDetail(**_job(record), **more)


def _job(record: JobRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind,
        "queue": record.queue,
        "tenant": record.tenant,
        "owner": record.owner or None,
        "state": record.state,
        "priority": record.priority,
        "run_at": record.run_at,
        "attempt": record.attempt,
        "worker": record.worker or None,
        "cancelling": record.cancelling,
        "progress": record.progress,
        "error": record.error or None,
        "schedule": record.schedule or None,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
    }
