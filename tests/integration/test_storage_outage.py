"""PostgreSQL goes away and comes back: clear errors meanwhile, and no restart of ours afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.unit.storage.kit import Store

from portico.errors import StorageUnavailable
from portico.storage.accounts import NewKey
from portico.storage.postgresql import arguments


async def drop_everybody(url: str) -> None:
    """End every connection to this database but the one that does it, as a restart of the server would."""
    import asyncpg

    connection = await asyncpg.connect(**arguments(url))
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


def test_connections_that_were_dropped_are_replaced(postgres_url: str, tmp_path: Path) -> None:
    with Store(postgres_url, tmp_path) as store:

        async def work() -> None:
            await asyncio.gather(*(store.keys.issue(NewKey("a")) for _ in range(5)))
            for _ in range(3):
                await drop_everybody(postgres_url)
                await asyncio.gather(*(store.keys.issue(NewKey("a")) for _ in range(5)))

        store.run(work())
        assert len(store.run(store.keys.prefixes())) == 8 * 20


def test_a_connection_dropped_inside_a_transaction_is_told(postgres_url: str, tmp_path: Path) -> None:
    with Store(postgres_url, tmp_path) as store:

        async def work() -> None:
            async with store.db.write() as session:
                await session.execute(text("INSERT INTO marks (name, at) VALUES ('x', now())"))
                await drop_everybody(postgres_url)
                await session.execute(text("SELECT 1"))

        with pytest.raises(StorageUnavailable):
            store.run(work())
        assert store.execute("SELECT * FROM marks") == []


def test_a_commit_that_was_cut_off_is_told(postgres_url: str, tmp_path: Path) -> None:
    with Store(postgres_url, tmp_path) as store:

        async def work() -> None:
            async with store.db.write() as session:
                await session.execute(text("INSERT INTO marks (name, at) VALUES ('x', now())"))
                await drop_everybody(postgres_url)

        with pytest.raises(StorageUnavailable):
            store.run(work())
        assert store.execute("SELECT * FROM marks") == []


def test_a_server_that_takes_nobody_is_told_and_taken_up_again(postgres_url: str, tmp_path: Path) -> None:
    name = postgres_url.rpartition("/")[2]
    with Store(postgres_url, tmp_path) as store:
        server = postgres_url.replace(name, "postgres")

        async def allow(connections: bool) -> None:
            import asyncpg

            connection = await asyncpg.connect(**arguments(server))
            try:
                await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {connections}')
            finally:
                await connection.close()

        store.run(store.keys.issue(NewKey("before")))
        store.run(allow(False))
        store.run(_drop(server, name))
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                store.run(store.keys.issue(NewKey("meanwhile")))
            with pytest.raises(StorageUnavailable):
                store.run(store.db.ping())
        store.run(allow(True))
        store.run(store.keys.issue(NewKey("after")))
        assert [each.name for each in store.run(store.keys.list())[0]] == ["before", "after"]


async def _drop(server: str, name: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(**arguments(server))
    try:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    finally:
        await connection.close()


def test_writers_of_the_same_row_wait_for_one_another(postgres_url: str, tmp_path: Path) -> None:
    with Store(postgres_url, tmp_path) as store:
        ann = store.run(store.people.create("ann@example.com"))

        async def work() -> None:
            roles = [("user",), ("viewer",), ("admin",)]
            await asyncio.gather(*(store.people.update(ann.id, roles=roles[n % 3]) for n in range(30)))

        store.run(work())
        told = [each.detail["tokens_from"] for each in store.run(store.changes.since(0))]
        assert told
        shown = store.run(store.people.get(ann.id))
        assert shown is not None
        assert shown.tokens_from is not None
        assert int(shown.tokens_from.timestamp()) == max(told)
