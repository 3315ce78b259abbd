"""Background work: jobs, their earlier attempts, the processes that run them, and schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Json, Time


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class JobRow(Base):
    """One piece of work. What is asked most often has an index of the rows it concerns, so that the rest costs nothing.

    `rank` is the priority with its sign turned: the lowest is claimed first. `fence` grows with every claim: whoever
    writes as the job's worker names the fence of its claim.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_queued", "queue", "rank", "id", **_where("state = 'queued'")),
        Index("ix_jobs_waiting", "run_at", **_where("state = 'waiting'")),
        Index("ix_jobs_running", "worker", "id", **_where("state = 'running'")),
        Index("ix_jobs_failed", "id", **_where("state = 'failed'")),
        Index("ix_jobs_ended", "ended_at", **_where("ended_at IS NOT NULL")),
        Index("ix_jobs_tenant", "tenant_id", "id"),
        Index("ix_jobs_schedule", "schedule_id", "id", **_where("schedule_id IS NOT NULL")),
        Index("uq_jobs_key", "tenant_id", "kind", "key", unique=True, **_where("key IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    queue: Mapped[str] = mapped_column(String(64))
    tenant_id: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    rank: Mapped[int] = mapped_column(Integer)
    run_at: Mapped[datetime | None] = mapped_column(Time)  # of a waiting one
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    key: Mapped[str | None] = mapped_column(String(128))
    schedule_id: Mapped[str | None] = mapped_column(Id)
    attempt: Mapped[int] = mapped_column(Integer)
    fence: Mapped[int] = mapped_column(BigInteger)
    worker: Mapped[str | None] = mapped_column(String(200))  # HOST/PID/number of its last claim
    cancelling: Mapped[bool] = mapped_column(Boolean)
    progress: Mapped[dict[str, Any] | None] = mapped_column(Json)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(Time)
    started_at: Mapped[datetime | None] = mapped_column(Time)
    ended_at: Mapped[datetime | None] = mapped_column(Time)
    traceparent: Mapped[str | None] = mapped_column(String(55))  # of what has enqueued it; none: it was not traced


class AttemptRow(Base):
    """An attempt that did not end its job; the one that did is in the job's own row."""

    __tablename__ = "job_attempts"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    fence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer)
    worker: Mapped[str] = mapped_column(String(200))
    outcome: Mapped[str] = mapped_column(String(16))  # failed | lost | stopped
    error: Mapped[str] = mapped_column(String(500))
    started_at: Mapped[datetime] = mapped_column(Time)
    ended_at: Mapped[datetime] = mapped_column(Time)


class WorkerRow(Base):
    """A process that runs jobs: while it has some, `beat` grows. Others take over when it has not for a lease."""

    __tablename__ = "job_workers"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    beat: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[datetime] = mapped_column(Time, index=True)


class WorkerCountRow(Base):
    """What workers that nobody asks have counted together: a counter of `portico.telemetry.counts` and its labels."""

    __tablename__ = "worker_counts"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    labels: Mapped[str] = mapped_column(String(300), primary_key=True)  # a JSON list
    count: Mapped[int] = mapped_column(BigInteger)


class ScheduleRow(Base):
    """When a job is to be made again and again: by `cron` in a time zone, or `every` so many seconds."""

    __tablename__ = "schedules"
    __table_args__ = (
        Index("ix_schedules_due", "next_at", **_where("next_at IS NOT NULL")),
        Index("ix_schedules_tenant", "tenant_id", "id"),
        Index("uq_schedules_name", "tenant_id", "builtin", "name", unique=True),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    cron: Mapped[str] = mapped_column(String(100))
    zone: Mapped[str] = mapped_column(String(64))
    every: Mapped[float] = mapped_column(Float)  # seconds; 0: by cron
    jitter: Mapped[float] = mapped_column(Float)  # seconds
    missed: Mapped[str] = mapped_column(String(8))  # skip | once | all
    paused: Mapped[bool] = mapped_column(Boolean)
    origin: Mapped[datetime] = mapped_column(Time)  # from when `every` counts
    next_at: Mapped[datetime | None] = mapped_column(Time)  # none: paused, or never again
    last_at: Mapped[datetime | None] = mapped_column(Time)  # the last due time that was run
    last_job: Mapped[str | None] = mapped_column(Id)
    skipped: Mapped[int] = mapped_column(BigInteger)  # due times at which nothing was run
    builtin: Mapped[bool] = mapped_column(Boolean)  # a plugin's own; not shown to users
    created_at: Mapped[datetime] = mapped_column(Time)
