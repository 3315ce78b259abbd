"""Several processes on one database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.integration.storage_processes import Worker
from tests.unit.storage.kit import Store

from portico.storage import migrations
from portico.storage.accounts import NewKey


def prepared(url: str, data_dir: Path) -> Store:
    """The vault and the tables, as `portico db upgrade` would leave them."""
    store = Store(url, data_dir)
    if store.db.path is None:
        store.run(store.db.upgrade())
    return store


@pytest.mark.parametrize("seconds", [2.0, pytest.param(20.0, marks=pytest.mark.long)])
def test_four_processes_write_and_read_without_being_locked_out(
    database_url: str, tmp_path: Path, seconds: float
) -> None:
    prepared(database_url, tmp_path)
    workers = [Worker("hammer", database_url, tmp_path, seconds=seconds) for _ in range(4)]
    results = [worker.finish() for worker in workers]
    assert [errors for _, errors in results] == [""] * 4
    said = [lines[-1] for lines, _ in results]
    assert all(each["wrote"] > 0 and each["read"] > 0 for each in said)
    with Store(database_url, tmp_path) as store:
        assert len(store.run(store.keys.prefixes())) == 8 * sum(each["wrote"] for each in said)
        numbers = store.execute("SELECT number FROM changes ORDER BY number")
    assert len(numbers) == sum(each["wrote"] for each in said)


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    workers = [Worker("idle", "sqlite:///portico.db", tmp_path) for _ in range(4)]
    results = [worker.finish() for worker in workers]
    assert [(lines[-1:], errors) for lines, errors in results] == [([{"schema": migrations.HEAD}], "")] * 4
    with Store("sqlite:///portico.db", tmp_path) as store:
        assert store.execute(f"SELECT count(*) FROM {migrations.TABLE}") == [(1,)]


def test_processes_that_start_together_make_one_administrator(database_url: str, tmp_path: Path) -> None:
    prepared(database_url, tmp_path)
    workers = [Worker("first", database_url, tmp_path) for _ in range(4)]
    results = [worker.finish() for worker in workers]
    assert [errors for _, errors in results] == [""] * 4
    assert sum(lines[-1]["made"] is not None for lines, _ in results) == 1


def test_two_upgrades_at_once(postgres_url: str, tmp_path: Path) -> None:
    store = Store(postgres_url, tmp_path)

    async def both() -> list[tuple[str, str]]:
        return list(await asyncio.gather(*(store.database().upgrade() for _ in range(3))))

    done = store.run(both())
    assert sorted(done) == [("", migrations.HEAD), *[(migrations.HEAD, migrations.HEAD)] * 2]


def test_a_long_reader_stops_nobody(database_url: str, tmp_path: Path) -> None:
    prepared(database_url, tmp_path)
    with Store(database_url, tmp_path) as store:

        async def work() -> tuple[int, int]:
            async with store.db.read() as session:
                from sqlalchemy import text

                count = text("SELECT count(*) FROM api_keys")
                before = await session.scalar(count)
                for _ in range(20):
                    await store.keys.issue(NewKey("meanwhile"))
                async with store.db.read() as other:
                    return int(before or 0), int(await other.scalar(count) or 0)

        assert store.run(work()) == (0, 20)
