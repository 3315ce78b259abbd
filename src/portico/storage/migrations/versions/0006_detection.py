"""The table of texts that wait for a decision."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, PrimaryKeyConstraint, String, text

from portico.storage.tables.base import Id, Json, Time

revision = "0006"
down_revision = "0005"
TABLE = "detection_reviews"


def upgrade() -> None:
    """Make it."""
    op.create_table(
        TABLE,
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("owner", String(300), nullable=False),
        Column("request_id", String(128), nullable=False),
        Column("mac", LargeBinary(32), nullable=False),
        Column("sealed", LargeBinary(), nullable=False),
        Column("characters", Integer(), nullable=False),
        Column("why", String(64), nullable=False),
        Column("engine", String(64), nullable=False),
        Column("threshold", Float(), nullable=False),
        Column("confidence", Float(), nullable=False),
        Column("times", BigInteger(), nullable=False),
        Column("created_at", Time(), nullable=False),
        Column("last_at", Time(), nullable=False),
        Column("decision", String(16), nullable=False),
        Column("threat_types", Json, nullable=False),
        Column("decided_by", String(300), nullable=False),
        Column("decided_at", Time(), nullable=True),
        PrimaryKeyConstraint("id", name="pk_detection_reviews"),
    )
    op.create_index("uq_detection_reviews_mac", TABLE, ["tenant_id", "mac"], unique=True)
    op.create_index("ix_detection_reviews_tenant", TABLE, ["tenant_id", "id"])
    waiting = text("decided_at IS NULL")
    where: dict[str, Any] = {"sqlite_where": waiting, "postgresql_where": waiting}
    op.create_index("ix_detection_reviews_waiting", TABLE, ["tenant_id", "id"], **where)
    op.create_index("ix_detection_reviews_created", TABLE, ["created_at"])


def downgrade() -> None:
    """Remove it."""
    op.drop_table(TABLE)
