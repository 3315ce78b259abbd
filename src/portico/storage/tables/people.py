"""People, their sessions, and invitations."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from portico.storage.tables.base import Base, Id, Json, Time


class PersonRow(Base):
    """A person, or (without an e-mail address) a holder of tokens that are no person's."""

    __tablename__ = "people"
    __table_args__ = (Index("ix_people_tenant", "tenant_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    email: Mapped[str | None] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    roles: Mapped[list[str]] = mapped_column(Json)
    password: Mapped[str | None] = mapped_column(String(256))  # as Argon2id encodes it
    created_at: Mapped[datetime] = mapped_column(Time)
    disabled_at: Mapped[datetime | None] = mapped_column(Time)
    tokens_from: Mapped[datetime | None] = mapped_column(Time, index=True)  # access tokens made before it are void


class SessionRow(Base):
    """A login. `tokens_until` is when the last access token made in it expires."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_person", "person_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64))
    person_id: Mapped[str] = mapped_column(Id, ForeignKey("people.id", ondelete="CASCADE"))
    agent: Mapped[str] = mapped_column(String(200))
    address: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Time)
    used_at: Mapped[datetime] = mapped_column(Time)
    expires_at: Mapped[datetime] = mapped_column(Time, index=True)
    tokens_until: Mapped[datetime] = mapped_column(Time)
    ended_at: Mapped[datetime | None] = mapped_column(Time, index=True)


class RefreshRow(Base):
    """A refresh token by its SHA-256; a used one stays for a while, so that a copy of it gives itself away."""

    __tablename__ = "refresh_tokens"

    sha256: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    session_id: Mapped[str] = mapped_column(Id, ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    made_at: Mapped[datetime] = mapped_column(Time)
    used_at: Mapped[datetime | None] = mapped_column(Time)


class InvitationRow(Base):
    """Leave to register once; by the SHA-256 of what the invited person was given."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(64), index=True)
    sha256: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    email: Mapped[str] = mapped_column(String(254))
    roles: Mapped[list[str]] = mapped_column(Json)
    permissions: Mapped[list[str]] = mapped_column(Json)
    created_by: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(Time)
    expires_at: Mapped[datetime] = mapped_column(Time)
    used_at: Mapped[datetime | None] = mapped_column(Time)
