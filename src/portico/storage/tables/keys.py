"""API keys: their SHA-256, never they themselves."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Json, Time


class KeyRow(Base):
    """One key. `prefixes` reads the index `ix_api_keys_living` alone, so it has every column that decides."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_living", "sha256", "revoked_at", "expires_at"),
        Index("ix_api_keys_tenant", "tenant_id", "id"),
        Index("ix_api_keys_owner", "owner_id", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("people.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    permissions: Mapped[list[str]] = mapped_column(Json)
    networks: Mapped[list[str]] = mapped_column(Json)
    per_minute: Mapped[int] = mapped_column(BigInteger)
    per_day: Mapped[int] = mapped_column(BigInteger)
    window: Mapped[str] = mapped_column(String(32))
    rate: Mapped[str] = mapped_column(String(32))
    burst: Mapped[int] = mapped_column(BigInteger)
    quota: Mapped[str] = mapped_column(String(32))
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    hint: Mapped[str] = mapped_column(String(16))
    replaces: Mapped[str | None] = mapped_column(Id, unique=True)  # one successor only
    family: Mapped[str | None] = mapped_column(Id)  # of a successor: the first of the line; limits count it as one
    created_at: Mapped[datetime] = mapped_column(Time)
    expires_at: Mapped[datetime | None] = mapped_column(Time)  # of a rotated key: the end of its grace
    revoked_at: Mapped[datetime | None] = mapped_column(Time)
    last_used_at: Mapped[datetime | None] = mapped_column(Time)
