"""What Alembic runs around each migration. The connection and its transaction are the caller's."""

from __future__ import annotations

from alembic import context

from portico.storage.migrations import TABLE
from portico.storage.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=TABLE,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
