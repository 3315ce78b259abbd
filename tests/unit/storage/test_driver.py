"""The driver of SQLite: one call in the connection's thread for a statement, whatever the statement answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from tests.unit.storage.kit import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store("sqlite:///portico.db", tmp_path) as made:
        yield made


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What connections were asked to do in their threads."""
    found: list[str] = []
    execute = aiosqlite.Connection._execute

    async def counted(self: aiosqlite.Connection, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found.append(call.__name__)
        return await execute(self, call, *args, **kwargs)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
    return found


def test_a_statement_with_its_rows_is_one_call(store: Store, calls: list[str]) -> None:
    async def work() -> None:
        async with store.db.write() as session:
            calls.clear()
            await session.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY, word TEXT UNIQUE)"))
            await session.execute(text("INSERT INTO t (word) VALUES (:word)"), [{"word": "a"}, {"word": "b"}])
            found = await session.execute(text("SELECT n, word FROM t ORDER BY n"))
            assert list(found.keys()) == ["n", "word"]
            assert found.fetchone() == (1, "a")
            assert found.fetchall() == [(2, "b")]
            changed: Any = await session.execute(text("UPDATE t SET word = word || 'x'"))
            assert changed.rowcount == 2
            added: Any = await session.execute(text("INSERT INTO t (word) VALUES ('c')"))
            assert added.lastrowid == 3
            assert (await session.execute(text("SELECT n FROM t WHERE n > 9"))).first() is None
            assert len(calls) == 6, calls

    store.run(work())


def test_a_statement_that_fails_leaves_the_connection_as_it_was(store: Store) -> None:
    async def work() -> None:
        async with store.db.write() as session:
            await session.execute(text("CREATE TABLE t (word TEXT UNIQUE)"))
            await session.execute(text("INSERT INTO t VALUES ('a')"))
        for statement, error in (
            ("INSERT INTO t VALUES ('a')", IntegrityError),
            ("SELECT * FROM nowhere", OperationalError),
        ):
            async with store.db.write() as session:
                connection = await session.connection()
                with pytest.raises(error):
                    await connection.exec_driver_sql(statement)
                assert await session.scalar(text("SELECT count(*) FROM t")) == 1

    store.run(work())


def test_rows_that_are_streamed_are_taken_some_at_a_time(store: Store, calls: list[str]) -> None:
    numbers = "WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 1000) SELECT n FROM up"

    async def work() -> None:
        async with store.db.read() as session:
            calls.clear()
            found = await session.stream(text(numbers))
            assert [row[0] async for row in found] == list(range(1, 1001))
            assert len(calls) > 3, calls

    store.run(work())
