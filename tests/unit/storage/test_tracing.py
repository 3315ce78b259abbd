"""Spans of the database, on both: one for each statement of a traced request, by kind and table alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from tests.unit.storage.kit import Store

from portico.errors import StorageError
from portico.storage.tracing import described
from portico.telemetry import tracing
from portico.telemetry.tracing import Record


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("SELECT a FROM api_keys WHERE b = ?", "SELECT api_keys"),
        ("  insert INTO people (a) VALUES ('hush')", "INSERT people"),
        ('UPDATE "people" SET a = 1', "UPDATE people"),
        ("DELETE FROM sessions", "DELETE sessions"),
        ("-- a note\nSELECT 1", "SELECT"),
        ("PRAGMA user_version", "PRAGMA"),
        ("", "statement"),
    ],
)
def test_a_statement_is_named_by_kind_and_table(statement: str, name: str) -> None:
    found, attributes = described(statement, "sqlite")
    assert found == name
    assert "hush" not in repr(attributes)


def test_statements_of_a_traced_request(database_url: str, tmp_path: Path) -> None:
    found: list[Record] = []

    async def work(store: Store) -> None:
        with tracing.Span(found.append, "root", tracing.SERVER, "1" * 32, "2" * 16, None):
            async with store.db.write() as session:
                await session.execute(text("DELETE FROM people WHERE id = :id"), {"id": "hush"})
            async with store.db.read() as session:
                await session.execute(text("SELECT count(*) FROM api_keys"))
            with pytest.raises(StorageError):
                async with store.db.read() as session:
                    await session.execute(text("SELECT hush FROM nowhere"))
        async with store.db.read() as session:
            await session.execute(text("SELECT 1"))

    with Store(database_url, tmp_path) as store:
        store.run(work(store))
    *parts, root = [each for each in found if each.name != "BEGIN"]  # SQLite's is a statement
    assert [each.name for each in parts] == ["DELETE people", "COMMIT", "SELECT api_keys", "SELECT nowhere"]
    assert {each.parent_id for each in parts} == {root.span_id}
    assert {each.attributes["db.system.name"] for each in parts} == {store.db.dialect}
    assert [each.failed for each in parts] == [False, False, False, True]
    assert all(each.kind == tracing.CLIENT and each.end >= each.start for each in parts)
    assert "hush" not in repr(found)
    assert root.name == "root"
