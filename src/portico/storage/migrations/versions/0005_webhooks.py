"""Tables of webhooks."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    text,
)

from portico.storage.tables.base import Id, Json, Time

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make them."""
    _endpoints()
    _secrets()
    _deliveries()
    _attempts()


def downgrade() -> None:
    """Remove them."""
    for table in ("webhook_attempts", "webhook_deliveries", "webhook_secrets", "webhook_endpoints"):
        op.drop_table(table)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("owner", String(300), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("url", String(2048), nullable=False),
        Column("events", Json, nullable=False),
        Column("retry_count", Integer(), nullable=False),
        Column("created_at", Time(), nullable=False),
        Column("deleted_at", Time(), nullable=True),
        Column("disabled_at", Time(), nullable=True),
        Column("disabled_for", String(16), nullable=False),
        Column("failing_since", Time(), nullable=True),
        Column("wake", Id, nullable=True),
        Column("wake_at", Time(), nullable=True),
        Column("pending", BigInteger(), nullable=False),
        Column("dropped", BigInteger(), nullable=False),
        Column("delivered", BigInteger(), nullable=False),
        Column("failed", BigInteger(), nullable=False),
        Column("seconds", Float(), nullable=False),
        Column("last_success_at", Time(), nullable=True),
        Column("last_failure_at", Time(), nullable=True),
        PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    table = "webhook_endpoints"
    op.create_index("ix_webhook_endpoints_owner", table, ["tenant_id", "owner", "id"])
    op.create_index("ix_webhook_endpoints_wake", table, ["wake_at"], **_where("wake_at IS NOT NULL"))
    op.create_index("ix_webhook_endpoints_deleted", table, ["deleted_at"], **_where("deleted_at IS NOT NULL"))
    where = _where("kind = 'request'")
    op.create_index("uq_webhook_endpoints_origin", table, ["tenant_id", "owner", "url"], unique=True, **where)


def _secrets() -> None:
    op.create_table(
        "webhook_secrets",
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("owner", String(300), nullable=False),
        Column("endpoint_id", Id, nullable=True),
        Column("sealed", LargeBinary(), nullable=False),
        Column("created_at", Time(), nullable=False),
        Column("retires_at", Time(), nullable=True),
        PrimaryKeyConstraint("id", name="pk_webhook_secrets"),
        ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name="fk_webhook_secrets_endpoint_id", ondelete="CASCADE"
        ),
    )
    table = "webhook_secrets"
    op.create_index("ix_webhook_secrets_endpoint", table, ["endpoint_id"])
    op.create_index("ix_webhook_secrets_default", table, ["tenant_id", "owner"], **_where("endpoint_id IS NULL"))
    op.create_index("ix_webhook_secrets_retires", table, ["retires_at"], **_where("retires_at IS NOT NULL"))
    where = _where("endpoint_id IS NULL AND retires_at IS NULL")
    op.create_index("uq_webhook_secrets_default", table, ["tenant_id", "owner"], unique=True, **where)


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("endpoint_id", Id, nullable=False),
        Column("event", String(64), nullable=False),
        Column("url", String(2048), nullable=False),
        Column("body", LargeBinary(), nullable=False),
        Column("state", String(16), nullable=False),
        Column("attempts", Integer(), nullable=False),
        Column("step", Integer(), nullable=False),
        Column("next_at", Time(), nullable=True),
        Column("created_at", Time(), nullable=False),
        Column("ended_at", Time(), nullable=True),
        PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name="fk_webhook_deliveries_endpoint_id", ondelete="CASCADE"
        ),
    )
    table = "webhook_deliveries"
    op.create_index("ix_webhook_deliveries_due", table, ["endpoint_id", "next_at"], **_where("next_at IS NOT NULL"))
    op.create_index("ix_webhook_deliveries_endpoint", table, ["endpoint_id", "id"])
    op.create_index("ix_webhook_deliveries_ended", table, ["ended_at"], **_where("ended_at IS NOT NULL"))


def _attempts() -> None:
    op.create_table(
        "webhook_attempts",
        Column("delivery_id", Id, nullable=False),
        Column("number", Integer(), nullable=False),
        Column("at", Time(), nullable=False),
        Column("http_status", Integer(), nullable=True),
        Column("response_body", LargeBinary(), nullable=False),
        Column("seconds", Float(), nullable=False),
        Column("error", String(200), nullable=False),
        PrimaryKeyConstraint("delivery_id", "number", name="pk_webhook_attempts"),
        ForeignKeyConstraint(
            ["delivery_id"], ["webhook_deliveries.id"], name="fk_webhook_attempts_delivery_id", ondelete="CASCADE"
        ),
    )
