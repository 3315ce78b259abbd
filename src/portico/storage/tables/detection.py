"""Detection: texts that wait for a person's decision, and those that have one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Float, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Json, Time

_WAITING = "decided_at IS NULL"


class ReviewRow(Base):
    """One text of one tenant. `sealed` holds the text and the note, as JSON sealed by the vault.

    `mac` tells whether a text is the same as another without saying what it is.
    """

    __tablename__ = "detection_reviews"
    __table_args__ = (
        Index("uq_detection_reviews_mac", "tenant_id", "mac", unique=True),
        Index("ix_detection_reviews_tenant", "tenant_id", "id"),
        Index(
            "ix_detection_reviews_waiting",
            "tenant_id",
            "id",
            sqlite_where=text(_WAITING),
            postgresql_where=text(_WAITING),
        ),
        Index("ix_detection_reviews_created", "created_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(300))  # KIND:ID of whoever asked first
    request_id: Mapped[str] = mapped_column(String(128))
    mac: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    characters: Mapped[int] = mapped_column(Integer)
    why: Mapped[str] = mapped_column(String(64))  # such as engine_timeout
    engine: Mapped[str] = mapped_column(String(64))  # who was asked
    threshold: Mapped[float] = mapped_column(Float)
    confidence: Mapped[float] = mapped_column(Float)  # that was answered
    times: Mapped[int] = mapped_column(BigInteger)  # that it came
    created_at: Mapped[datetime] = mapped_column(Time)
    last_at: Mapped[datetime] = mapped_column(Time)
    decision: Mapped[str] = mapped_column(String(16))  # malicious | benign; empty: it waits
    threat_types: Mapped[list[str]] = mapped_column(Json)  # that the person has seen in it
    decided_by: Mapped[str] = mapped_column(String(300))  # KIND:ID
    decided_at: Mapped[datetime | None] = mapped_column(Time)
