"""Migrations and models say the same, on both databases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError
from tests.unit.storage.kit import Store

from portico.storage import migrations
from portico.storage.migrations import run
from portico.storage.tables import METADATA, SEALED


def test_the_migrated_schema_is_the_one_of_the_tables(own_store: Store) -> None:
    def compare(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True, "version_table": migrations.TABLE}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))

    async def work() -> list[object]:
        async with own_store.db.read() as session:
            return await (await session.connection()).run_sync(compare)

    assert own_store.run(work()) == []


def test_down_and_up_again(own_store: Store) -> None:
    from alembic import command

    def there_and_back(connection: Connection) -> tuple[set[str], set[str]]:
        command.downgrade(run.config(connection), "base")
        below = set(inspect(connection).get_table_names())
        run.upgrade(connection)
        inspect(connection).clear_cache()
        return below, set(inspect(connection).get_table_names())

    async def work() -> tuple[set[str], set[str]]:
        async with own_store.db.write() as session:
            return await (await session.connection()).run_sync(there_and_back)

    below, above = own_store.run(work())
    assert below - {"sqlite_sequence"} == {migrations.TABLE}
    assert above - {"sqlite_sequence"} == {migrations.TABLE, *METADATA.tables}


def test_a_migration_that_fails_leaves_what_was_there(own_store: Store) -> None:
    own_store.execute("DROP TABLE changes")
    own_store.execute(f"DELETE FROM {migrations.TABLE}")

    async def tables() -> set[str]:
        async with own_store.db.read() as session:
            return set(await (await session.connection()).run_sync(lambda inner: inspect(inner).get_table_names()))

    before = own_store.run(tables())
    other = own_store.database()
    with pytest.raises(DBAPIError, match="already exists"):
        own_store.run(other.upgrade())
    assert own_store.run(tables()) == before
    assert own_store.run(own_store.db.schema()) == ""


def test_what_a_start_knows_of_the_migrations_is_so() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    revisions = [each.revision for each in scripts.walk_revisions()]
    assert tuple(reversed(revisions)) == migrations.KNOWN
    assert scripts.get_current_head() == migrations.HEAD


def test_every_sealed_column_is_named() -> None:
    named = {(each.table, each.column) for each in SEALED}
    assert named == {
        (table.name, column.name) for table in METADATA.tables.values() for column in table.c if "sealed" in column.name
    }
    assert all(each.id in METADATA.tables[each.table].c for each in SEALED)


def test_an_open_of_what_is_up_to_date_loads_no_alembic(tmp_path: Path) -> None:
    with Store("sqlite:///portico.db", tmp_path) as store:
        assert store.execute(f"SELECT version_num FROM {migrations.TABLE}") == [(migrations.HEAD,)]
    program = f"""
import asyncio, sys
from pathlib import Path
from portico.storage.database import Database
from portico.storage.vault import Vault
here = Path({str(tmp_path)!r})
db = Database("sqlite:///portico.db", here, Vault.open(here, None).key("database"))
async def work():
    await db.open()
    await db.close()
asyncio.run(work())
assert not [name for name in sys.modules if name.split(".")[0] == "alembic"], "alembic was loaded"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_version_is_told_apart_from_another_programs(own_store: Store) -> None:
    own_store.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    own_store.execute("INSERT INTO alembic_version VALUES ('someone else')")
    own_store.run(own_store.db.close())
    own_store.run(own_store.db.open())
    assert own_store.run(own_store.db.schema()) == migrations.HEAD
