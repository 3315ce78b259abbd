"""Keys, people, sessions, invitations, signing keys, changes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    UniqueConstraint,
    text,
)

from portico.storage.tables.base import Id, Json, Time

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    _changes()
    _invitations()
    _marks()
    _people()
    _signing_keys()
    _api_keys()
    _sessions()
    _refresh_tokens()


def downgrade() -> None:
    """Remove them."""
    for table in ("refresh_tokens", "sessions", "api_keys", "signing_keys", "people", "marks"):
        op.drop_table(table)
    for table in ("invitations", "changes"):
        op.drop_table(table)


def _changes() -> None:
    op.create_table(
        "changes",
        Column("number", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
        Column("at", Time(), nullable=False),
        Column("kind", String(32), nullable=False),
        Column("subject", Id, nullable=False),
        Column("detail", Json, nullable=False),
        PrimaryKeyConstraint("number", name="pk_changes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_at", "changes", ["at"], unique=False)


def _invitations() -> None:
    op.create_table(
        "invitations",
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("sha256", LargeBinary(32), nullable=False),
        Column("email", String(254), nullable=False),
        Column("roles", Json, nullable=False),
        Column("permissions", Json, nullable=False),
        Column("created_by", Id, nullable=False),
        Column("created_at", Time(), nullable=False),
        Column("expires_at", Time(), nullable=False),
        Column("used_at", Time(), nullable=True),
        PrimaryKeyConstraint("id", name="pk_invitations"),
        UniqueConstraint("sha256", name="uq_invitations_sha256"),
    )
    op.create_index("ix_invitations_tenant_id", "invitations", ["tenant_id"], unique=False)


def _marks() -> None:
    op.create_table(
        "marks",
        Column("name", String(64), nullable=False),
        Column("at", Time(), nullable=False),
        PrimaryKeyConstraint("name", name="pk_marks"),
    )


def _people() -> None:
    op.create_table(
        "people",
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("email", String(254), nullable=True),
        Column("name", String(200), nullable=False),
        Column("roles", Json, nullable=False),
        Column("password", String(256), nullable=True),
        Column("created_at", Time(), nullable=False),
        Column("disabled_at", Time(), nullable=True),
        Column("tokens_from", Time(), nullable=True),
        PrimaryKeyConstraint("id", name="pk_people"),
        UniqueConstraint("email", name="uq_people_email"),
    )
    op.create_index("ix_people_tenant", "people", ["tenant_id", "id"], unique=False)
    op.create_index("ix_people_tokens_from", "people", ["tokens_from"], unique=False)


def _signing_keys() -> None:
    op.create_table(
        "signing_keys",
        Column("id", Id, nullable=False),
        Column("algorithm", String(16), nullable=False),
        Column("public", Json, nullable=False),
        Column("sealed", LargeBinary(), nullable=False),
        Column("created_at", Time(), nullable=False),
        Column("retires_at", Time(), nullable=True),
        PrimaryKeyConstraint("id", name="pk_signing_keys"),
    )
    current = text("retires_at IS NULL")
    op.create_index(
        "ix_signing_keys_current",
        "signing_keys",
        ["algorithm"],
        unique=True,
        sqlite_where=current,
        postgresql_where=current,
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("owner_id", Id, nullable=True),
        Column("name", String(200), nullable=False),
        Column("permissions", Json, nullable=False),
        Column("networks", Json, nullable=False),
        Column("per_minute", BigInteger(), nullable=False),
        Column("per_day", BigInteger(), nullable=False),
        Column("window", String(32), nullable=False),
        Column("rate", String(32), nullable=False),
        Column("burst", BigInteger(), nullable=False),
        Column("quota", String(32), nullable=False),
        Column("sha256", LargeBinary(32), nullable=False),
        Column("hint", String(16), nullable=False),
        Column("replaces", Id, nullable=True),
        Column("family", Id, nullable=True),
        Column("created_at", Time(), nullable=False),
        Column("expires_at", Time(), nullable=True),
        Column("revoked_at", Time(), nullable=True),
        Column("last_used_at", Time(), nullable=True),
        ForeignKeyConstraint(["owner_id"], ["people.id"], name="fk_api_keys_owner_id", ondelete="CASCADE"),
        PrimaryKeyConstraint("id", name="pk_api_keys"),
        UniqueConstraint("replaces", name="uq_api_keys_replaces"),
        UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )
    op.create_index("ix_api_keys_living", "api_keys", ["sha256", "revoked_at", "expires_at"], unique=False)
    op.create_index("ix_api_keys_owner", "api_keys", ["owner_id", "id"], unique=False)
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant_id", "id"], unique=False)


def _sessions() -> None:
    op.create_table(
        "sessions",
        Column("id", Id, nullable=False),
        Column("tenant_id", String(64), nullable=False),
        Column("person_id", Id, nullable=False),
        Column("agent", String(200), nullable=False),
        Column("address", String(64), nullable=False),
        Column("created_at", Time(), nullable=False),
        Column("used_at", Time(), nullable=False),
        Column("expires_at", Time(), nullable=False),
        Column("tokens_until", Time(), nullable=False),
        Column("ended_at", Time(), nullable=True),
        ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_sessions_person_id", ondelete="CASCADE"),
        PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_ended_at", "sessions", ["ended_at"], unique=False)
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], unique=False)
    op.create_index("ix_sessions_person", "sessions", ["person_id", "id"], unique=False)


def _refresh_tokens() -> None:
    op.create_table(
        "refresh_tokens",
        Column("sha256", LargeBinary(32), nullable=False),
        Column("session_id", Id, nullable=False),
        Column("made_at", Time(), nullable=False),
        Column("used_at", Time(), nullable=True),
        ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_refresh_tokens_session_id", ondelete="CASCADE"),
        PrimaryKeyConstraint("sha256", name="pk_refresh_tokens"),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"], unique=False)
