"""Tables of audit."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, String, Text, UniqueConstraint

from portico.storage.tables.base import Id, Time

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make them."""
    _audit()
    _writers()
    op.create_table(
        "audit_keys",
        Column("id", Id, nullable=False),
        Column("sealed", LargeBinary(), nullable=False),
        Column("created_at", Time(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_audit_keys"),
    )
    op.create_table(
        "audit_refusals",
        Column("minute", BigInteger(), autoincrement=False, nullable=False),
        Column("code", String(64), nullable=False),
        Column("count", BigInteger(), nullable=False),
        PrimaryKeyConstraint("minute", "code", name="pk_audit_refusals"),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("audit_refusals", "audit_keys", "audit_writers", "audit"):
        op.drop_table(table)


def _audit() -> None:
    op.create_table(
        "audit",
        Column("writer", Id, nullable=False),
        Column("sequence", BigInteger(), autoincrement=False, nullable=False),
        Column("id", Id, nullable=False),
        Column("at", Time(), nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("actor_kind", String(16), nullable=False),
        Column("actor_id", String(300), nullable=False),
        Column("action", String(64), nullable=False),
        Column("object_kind", String(32), nullable=False),
        Column("object_id", String(300), nullable=False),
        Column("source", String(64), nullable=False),
        Column("result", String(16), nullable=False),
        Column("code", String(64), nullable=False),
        Column("request_id", String(128), nullable=False),
        Column("detail", Text(), nullable=False),
        Column("link", LargeBinary(32), nullable=False),
        PrimaryKeyConstraint("writer", "sequence", name="pk_audit"),
        UniqueConstraint("id", name="uq_audit_id"),
    )
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)
    op.create_index("ix_audit_request_id", "audit", ["request_id"], unique=False)
    op.create_index("ix_audit_tenant", "audit", ["tenant_id", "id"], unique=False)
    op.create_index("ix_audit_action", "audit", ["action", "id"], unique=False)
    op.create_index("ix_audit_actor", "audit", ["actor_id", "id"], unique=False)
    op.create_index("ix_audit_object", "audit", ["object_id", "id"], unique=False)


def _writers() -> None:
    op.create_table(
        "audit_writers",
        Column("writer", Id, nullable=False),
        Column("number", BigInteger(), nullable=False),
        Column("key_id", Id, nullable=False),
        Column("began", Time(), nullable=False),
        Column("link", LargeBinary(32), nullable=False),
        Column("sequence", BigInteger(), nullable=False),
        Column("head", LargeBinary(32), nullable=False),
        Column("pruned", BigInteger(), nullable=False),
        Column("pruned_head", LargeBinary(32), nullable=False),
        Column("mac", LargeBinary(32), nullable=False),
        PrimaryKeyConstraint("writer", name="pk_audit_writers"),
        UniqueConstraint("number", name="uq_audit_writers_number"),
    )
