"""Usage: levels, sums, and requests in detail."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    UniqueConstraint,
)

from portico.storage.tables.base import Id, Time

revision = "0002"
down_revision = "0001"

NUMBER = BigInteger().with_variant(Integer(), "sqlite")
COUNTED = ("requests", "bytes_in", "bytes_out", "micros", *(f"bucket_{index}" for index in range(14)))
RANKED = ("requests", "errors", "bytes_in", "bytes_out", "micros")
LEVELS = ("usage_minutes", "usage_hours", "usage_days")


def upgrade() -> None:
    """Make the tables."""
    _names()
    for level in LEVELS:
        _level(level)
    _totals()
    _ranks()
    _recent()
    _spool_writers()
    _spool_keys()


def downgrade() -> None:
    """Remove them."""
    for table in ("spool_keys", "spool_writers"):
        op.drop_table(table)
    for table in ("requests_recent", "usage_ranks", "usage_totals", *LEVELS, "usage_routes", "usage_callers"):
        op.drop_table(table)


def _counts(names: tuple[str, ...]) -> list[Column[int]]:
    return [Column(name, BigInteger(), nullable=False) for name in names]


def _names() -> None:
    op.create_table(
        "usage_callers",
        Column("id", NUMBER, autoincrement=True, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("key_id", String(255), nullable=False),
        Column("principal", String(1024), nullable=False),
        Column("sha256", LargeBinary(32), nullable=False),
        PrimaryKeyConstraint("id", name="pk_usage_callers"),
        UniqueConstraint("sha256", name="uq_usage_callers_sha256"),
    )
    op.create_index("ix_usage_callers_key", "usage_callers", ["key_id"], unique=False)
    op.create_index("ix_usage_callers_principal", "usage_callers", ["principal"], unique=False)
    op.create_table(
        "usage_routes",
        Column("id", NUMBER, autoincrement=True, nullable=False),
        Column("route", String(255), nullable=False),
        Column("method", String(32), nullable=False),
        Column("sha256", LargeBinary(32), nullable=False),
        PrimaryKeyConstraint("id", name="pk_usage_routes"),
        UniqueConstraint("sha256", name="uq_usage_routes_sha256"),
    )


def _level(name: str) -> None:
    op.create_table(
        name,
        Column("caller", BigInteger(), nullable=False),
        Column("at", BigInteger(), nullable=False),
        Column("route", BigInteger(), nullable=False),
        Column("status", SmallInteger(), nullable=False),
        *_counts(COUNTED),
        PrimaryKeyConstraint("caller", "at", "route", "status", name=f"pk_{name}"),
        sqlite_with_rowid=False,
    )


def _totals() -> None:
    op.create_table(
        "usage_totals",
        Column("span", Integer(), nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("at", BigInteger(), nullable=False),
        Column("status", SmallInteger(), nullable=False),
        *_counts(COUNTED),
        PrimaryKeyConstraint("span", "tenant_id", "at", "status", name="pk_usage_totals"),
        sqlite_with_rowid=False,
    )


def _ranks() -> None:
    op.create_table(
        "usage_ranks",
        Column("kind", String(16), nullable=False),
        Column("span", Integer(), nullable=False),
        Column("at", BigInteger(), nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("subject", BigInteger(), nullable=False),
        *_counts(RANKED),
        PrimaryKeyConstraint("kind", "span", "at", "tenant_id", "subject", name="pk_usage_ranks"),
        sqlite_with_rowid=False,
    )


def _recent() -> None:
    op.create_table(
        "requests_recent",
        Column("number", NUMBER, autoincrement=True, nullable=False),
        Column("at", BigInteger(), nullable=False),
        Column("request_id", String(128), nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("key_id", String(255), nullable=False),
        Column("principal", String(1024), nullable=False),
        Column("route", String(255), nullable=False),
        Column("method", String(32), nullable=False),
        Column("path", String(2048), nullable=False),
        Column("status", SmallInteger(), nullable=False),
        Column("code", String(64), nullable=False),
        Column("micros", BigInteger(), nullable=False),
        Column("bytes_in", BigInteger(), nullable=False),
        Column("bytes_out", BigInteger(), nullable=False),
        Column("client", String(64), nullable=False),
        PrimaryKeyConstraint("number", name="pk_requests_recent"),
    )


def _spool_writers() -> None:
    op.create_table(
        "spool_writers",
        Column("writer", Id, nullable=False),
        Column("sequence", BigInteger(), nullable=False),
        Column("at", Time(), nullable=False),
        PrimaryKeyConstraint("writer", name="pk_spool_writers"),
    )


def _spool_keys() -> None:
    op.create_table(
        "spool_keys",
        Column("id", String(16), nullable=False),
        Column("sealed", LargeBinary(), nullable=False),
        Column("created_at", Time(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_spool_keys"),
    )
