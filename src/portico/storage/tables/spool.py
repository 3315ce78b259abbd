"""What was taken in of the spool, and the keys that it may have been written with."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Time


class SpoolWriterRow(Base):
    """A writer whose records are being taken in; `sequence` is the last that was, in the transaction that took it."""

    __tablename__ = "spool_writers"

    writer: Mapped[str] = mapped_column(Id, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Time)


class SpoolKeyRow(Base):
    """A key of the spool, sealed: what was written before the vault's master key was replaced stays readable."""

    __tablename__ = "spool_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Time)
