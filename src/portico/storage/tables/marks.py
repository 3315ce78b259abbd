"""What has been done once and for all."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Time


class MarkRow(Base):
    """One deed. Its key decides between processes that would do it at the same moment."""

    __tablename__ = "marks"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime] = mapped_column(Time)
