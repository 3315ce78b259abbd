"""Webhooks: who wants to be told of what, the secrets that sign it, what is to be delivered, and each attempt."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Json, Time


def _some(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows that `where` picks."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class EndpointRow(Base):
    """A URL that is called. Of kind `request` it is one origin of the URLs that an owner's single requests name.

    `wake` names the one job that counts, `wake_at` is when it is due; both are empty when nothing waits. Whoever adds a
    delivery holds the row until its transaction ends, and so does the job when it looks whether there is more to do.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        Index("ix_webhook_endpoints_owner", "tenant_id", "owner", "id"),
        _some("ix_webhook_endpoints_wake", "wake_at", where="wake_at IS NOT NULL"),
        _some("ix_webhook_endpoints_deleted", "deleted_at", where="deleted_at IS NOT NULL"),
        _some("uq_webhook_endpoints_origin", "tenant_id", "owner", "url", where="kind = 'request'", unique=True),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(300))  # KIND:ID of a principal; of a key: the first of its line
    kind: Mapped[str] = mapped_column(String(16))  # registered | request
    url: Mapped[str] = mapped_column(String(2048))
    events: Mapped[list[str]] = mapped_column(Json)
    retry_count: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(Time)
    deleted_at: Mapped[datetime | None] = mapped_column(Time)
    disabled_at: Mapped[datetime | None] = mapped_column(Time)
    disabled_for: Mapped[str] = mapped_column(String(16))  # gone | failing
    failing_since: Mapped[datetime | None] = mapped_column(Time)  # the first failure since the last success
    wake: Mapped[str | None] = mapped_column(Id)
    wake_at: Mapped[datetime | None] = mapped_column(Time)
    pending: Mapped[int] = mapped_column(BigInteger)  # deliveries that wait
    dropped: Mapped[int] = mapped_column(BigInteger)  # deliveries that were not made, since too many waited
    delivered: Mapped[int] = mapped_column(BigInteger)  # attempts that succeeded
    failed: Mapped[int] = mapped_column(BigInteger)  # attempts that did not
    seconds: Mapped[float] = mapped_column(Float)  # that all attempts took
    last_success_at: Mapped[datetime | None] = mapped_column(Time)
    last_failure_at: Mapped[datetime | None] = mapped_column(Time)
    limited: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # requests refused since it was told
    limited_at: Mapped[datetime | None] = mapped_column(Time)  # when it was last told of refused requests


class WebhookSecretRow(Base):
    """A secret of an endpoint or, without one, the owner's default; `sealed` by the vault."""

    __tablename__ = "webhook_secrets"
    __table_args__ = (
        Index("ix_webhook_secrets_endpoint", "endpoint_id"),
        _some("ix_webhook_secrets_default", "tenant_id", "owner", where="endpoint_id IS NULL"),
        _some("ix_webhook_secrets_retires", "retires_at", where="retires_at IS NOT NULL"),
        _some(
            "uq_webhook_secrets_default",
            "tenant_id",
            "owner",
            where="endpoint_id IS NULL AND retires_at IS NULL",
            unique=True,
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(300))
    endpoint_id: Mapped[str | None] = mapped_column(Id, ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Time)
    retires_at: Mapped[datetime | None] = mapped_column(Time)  # until then it signs beside its successor


class DeliveryRow(Base):
    """One event for one endpoint: the body as it is sent, and how far its delivery is. `id` is the webhook-id."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        _some("ix_webhook_deliveries_due", "endpoint_id", "next_at", where="next_at IS NOT NULL"),
        Index("ix_webhook_deliveries_endpoint", "endpoint_id", "id"),
        _some("ix_webhook_deliveries_ended", "ended_at", where="ended_at IS NOT NULL"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    endpoint_id: Mapped[str] = mapped_column(Id, ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(64))
    url: Mapped[str] = mapped_column(String(2048))  # of a single request; empty: the endpoint's
    body: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16))  # pending | succeeded | failed
    attempts: Mapped[int] = mapped_column(Integer)
    step: Mapped[int] = mapped_column(Integer)  # failures since it was queued, or queued again
    next_at: Mapped[datetime | None] = mapped_column(Time)
    created_at: Mapped[datetime] = mapped_column(Time)
    ended_at: Mapped[datetime | None] = mapped_column(Time)
    traceparent: Mapped[str | None] = mapped_column(String(55))  # of what has caused it; none: it was not traced


class WebhookAttemptRow(Base):
    """One call. No status: there was no answer, and `error` tells why."""

    __tablename__ = "webhook_attempts"

    delivery_id: Mapped[str] = mapped_column(
        Id, ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime] = mapped_column(Time)
    http_status: Mapped[int | None] = mapped_column(Integer)
    response_body: Mapped[bytes] = mapped_column(LargeBinary)  # at most 64 KiB of it
    seconds: Mapped[float] = mapped_column(Float)
    error: Mapped[str] = mapped_column(String(200))
