"""The keys that sign Portico's own tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Json, Time


class SigningKeyRow(Base):
    """One key; `sealed` is its private JWK (RFC 7517) as the vault sealed it. One key an algorithm is the current."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        Index(
            "ix_signing_keys_current",
            "algorithm",
            unique=True,
            sqlite_where=text("retires_at IS NULL"),
            postgresql_where=text("retires_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)  # the kid
    algorithm: Mapped[str] = mapped_column(String(16))
    public: Mapped[dict[str, Any]] = mapped_column(Json)  # {} for a shared secret
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Time)
    retires_at: Mapped[datetime | None] = mapped_column(Time)  # None: signs; later: still verifies until then
