"""What texts were judged to be; whom webhooks have told of used-up limits; traces of jobs; counts of workers."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, SmallInteger, String, text

from portico.storage.tables.base import Time

revision = "0007"
down_revision = "0006"

VERDICTS = ("texts", "confidence", "degraded", "cached")
TRACED = ("jobs", "webhook_deliveries")


def upgrade() -> None:
    """Make the tables, and the columns."""
    op.create_table(
        "usage_verdicts",
        Column("caller", BigInteger(), nullable=False),
        Column("span", Integer(), nullable=False),
        Column("at", BigInteger(), nullable=False),
        Column("engine", String(64), nullable=False),
        Column("malicious", SmallInteger(), nullable=False),
        *_counts(),
        PrimaryKeyConstraint("caller", "span", "at", "engine", "malicious", name="pk_usage_verdicts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_verdict_totals",
        Column("span", Integer(), nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("at", BigInteger(), nullable=False),
        Column("engine", String(64), nullable=False),
        Column("malicious", SmallInteger(), nullable=False),
        *_counts(),
        PrimaryKeyConstraint("span", "tenant_id", "at", "engine", "malicious", name="pk_usage_verdict_totals"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "worker_counts",
        Column("name", String(64), nullable=False),
        Column("labels", String(300), nullable=False),
        Column("count", BigInteger(), nullable=False),
        PrimaryKeyConstraint("name", "labels", name="pk_worker_counts"),
    )
    op.add_column("webhook_endpoints", Column("limited", BigInteger(), nullable=False, server_default=text("0")))
    op.add_column("webhook_endpoints", Column("limited_at", Time(), nullable=True))
    for table in TRACED:
        op.add_column(table, Column("traceparent", String(55), nullable=True))


def downgrade() -> None:
    """Remove them."""
    for table in TRACED:
        op.drop_column(table, "traceparent")
    op.drop_column("webhook_endpoints", "limited_at")
    op.drop_column("webhook_endpoints", "limited")
    op.drop_table("worker_counts")
    op.drop_table("usage_verdict_totals")
    op.drop_table("usage_verdicts")


def _counts() -> list[Column[int]]:
    return [Column(name, BigInteger(), nullable=False) for name in VERDICTS]
