"""How many of the texts that were judged came from guards."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, text

revision = "0008"
down_revision = "0007"

TABLES = ("usage_verdicts", "usage_verdict_totals")


def upgrade() -> None:
    """Make the columns."""
    for table in TABLES:
        op.add_column(table, Column("guarded", BigInteger(), nullable=False, server_default=text("0")))


def downgrade() -> None:
    """Remove them."""
    for table in TABLES:
        op.drop_column(table, "guarded")
