"""What has changed, numbered in the order in which it became visible."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Json, Time


class ChangeRow(Base):
    """One change. Numbers are not used again after pruning."""

    __tablename__ = "changes"
    __table_args__ = ({"sqlite_autoincrement": True},)

    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(Time, index=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(Id)
    detail: Mapped[dict[str, Any]] = mapped_column(Json)
