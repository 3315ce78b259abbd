"""Tables of jobs."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    String,
    text,
)

from portico.storage.tables.base import Id, Json, Time

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make them."""
    _jobs()
    _attempts()
    _workers()
    _schedules()


def downgrade() -> None:
    """Remove them."""
    for table in ("job_attempts", "jobs", "job_workers", "schedules"):
        op.drop_table(table)


def _jobs() -> None:
    op.create_table(
        "jobs",
        Column("id", Id, nullable=False),
        Column("kind", String(64), nullable=False),
        Column("queue", String(64), nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("owner", String(64), nullable=False),
        Column("state", String(16), nullable=False),
        Column("rank", Integer(), nullable=False),
        Column("run_at", Time(), nullable=True),
        Column("payload", Json, nullable=False),
        Column("key", String(128), nullable=True),
        Column("schedule_id", Id, nullable=True),
        Column("attempt", Integer(), nullable=False),
        Column("fence", BigInteger(), nullable=False),
        Column("worker", String(200), nullable=True),
        Column("cancelling", Boolean(), nullable=False),
        Column("progress", Json, nullable=True),
        Column("result", Json, nullable=True),
        Column("error", String(500), nullable=False),
        Column("created_at", Time(), nullable=False),
        Column("started_at", Time(), nullable=True),
        Column("ended_at", Time(), nullable=True),
        PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    _index("ix_jobs_queued", "jobs", ["queue", "rank", "id"], "state = 'queued'")
    _index("ix_jobs_waiting", "jobs", ["run_at"], "state = 'waiting'")
    _index("ix_jobs_running", "jobs", ["worker", "id"], "state = 'running'")
    _index("ix_jobs_failed", "jobs", ["id"], "state = 'failed'")
    _index("ix_jobs_ended", "jobs", ["ended_at"], "ended_at IS NOT NULL")
    _index("ix_jobs_schedule", "jobs", ["schedule_id", "id"], "schedule_id IS NOT NULL")
    _index("uq_jobs_key", "jobs", ["tenant_id", "kind", "key"], "key IS NOT NULL", unique=True)
    op.create_index("ix_jobs_tenant", "jobs", ["tenant_id", "id"])


def _attempts() -> None:
    op.create_table(
        "job_attempts",
        Column("job_id", Id, nullable=False),
        Column("fence", BigInteger(), nullable=False),
        Column("attempt", Integer(), nullable=False),
        Column("worker", String(200), nullable=False),
        Column("outcome", String(16), nullable=False),
        Column("error", String(500), nullable=False),
        Column("started_at", Time(), nullable=False),
        Column("ended_at", Time(), nullable=False),
        ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_attempts_job_id", ondelete="CASCADE"),
        PrimaryKeyConstraint("job_id", "fence", name="pk_job_attempts"),
    )


def _workers() -> None:
    op.create_table(
        "job_workers",
        Column("id", String(200), nullable=False),
        Column("beat", BigInteger(), nullable=False),
        Column("seen_at", Time(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_job_workers"),
    )
    op.create_index("ix_job_workers_seen_at", "job_workers", ["seen_at"])


def _schedules() -> None:
    op.create_table(
        "schedules",
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("owner", String(64), nullable=False),
        Column("name", String(200), nullable=False),
        Column("kind", String(64), nullable=False),
        Column("payload", Json, nullable=False),
        Column("cron", String(100), nullable=False),
        Column("zone", String(64), nullable=False),
        Column("every", Float(), nullable=False),
        Column("jitter", Float(), nullable=False),
        Column("missed", String(8), nullable=False),
        Column("paused", Boolean(), nullable=False),
        Column("origin", Time(), nullable=False),
        Column("next_at", Time(), nullable=True),
        Column("last_at", Time(), nullable=True),
        Column("last_job", Id, nullable=True),
        Column("skipped", BigInteger(), nullable=False),
        Column("builtin", Boolean(), nullable=False),
        Column("created_at", Time(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    _index("ix_schedules_due", "schedules", ["next_at"], "next_at IS NOT NULL")
    op.create_index("ix_schedules_tenant", "schedules", ["tenant_id", "id"])
    op.create_index("uq_schedules_name", "schedules", ["tenant_id", "builtin", "name"], unique=True)


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
