"""Who did what: one chain of records for each process that writes, its keys, and refusals that are only counted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Time


class AuditRow(Base):
    """One record; `link` is an HMAC over it and the link before. `detail` is text, so that no database rewrites it."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_tenant", "tenant_id", "id"),
        Index("ix_audit_action", "action", "id"),
        Index("ix_audit_actor", "actor_id", "id"),
        Index("ix_audit_object", "object_id", "id"),
    )

    writer: Mapped[str] = mapped_column(Id, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(Id, unique=True)
    at: Mapped[datetime] = mapped_column(Time, index=True)
    tenant_id: Mapped[str] = mapped_column(String(64))  # whose thing it was; "" of nobody's
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[str] = mapped_column(String(300))
    action: Mapped[str] = mapped_column(String(64))
    object_kind: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[str] = mapped_column(String(300))
    source: Mapped[str] = mapped_column(String(64))
    result: Mapped[str] = mapped_column(String(16))
    code: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(128), index=True)
    detail: Mapped[str] = mapped_column(Text)
    link: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditWriterRow(Base):
    """One chain. `link` ties it to the chain begun before it; `mac` is over all that changes here."""

    __tablename__ = "audit_writers"

    writer: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, unique=True)  # from 1, without gaps
    key_id: Mapped[str] = mapped_column(Id)
    began: Mapped[datetime] = mapped_column(Time)
    link: Mapped[bytes] = mapped_column(LargeBinary(32))
    sequence: Mapped[int] = mapped_column(BigInteger)  # of the last record
    head: Mapped[bytes] = mapped_column(LargeBinary(32))  # its link
    pruned: Mapped[int] = mapped_column(BigInteger)  # records up to here were removed when their time was over
    pruned_head: Mapped[bytes] = mapped_column(LargeBinary(32))  # the link of the last of them
    mac: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditKeyRow(Base):
    """The key of chains, under the fingerprint of the master key that it came of: it outlives a change of that key."""

    __tablename__ = "audit_keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Time)


class AuditRefusalRow(Base):
    """Refusals of one minute with one code that got no record of their own; they become one when it is over."""

    __tablename__ = "audit_refusals"

    minute: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # since 1970
    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
