"""The database itself: opening, transactions, errors in words."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.unit.storage.kit import Store

from portico.errors import Missing, StorageError, StorageUnavailable
from portico.storage import migrations
from portico.storage.accounts import NewKey
from portico.storage.changes import Changes
from portico.storage.database import SQLITE, Database
from portico.storage.postgresql import arguments


def test_what_is_written_is_read_by_another_process_worth_of_connections(store: Store) -> None:
    record, _ = store.run(store.keys.issue(NewKey("a")))
    other = store.database()
    store.run(other.open())
    try:
        assert store.run(type(store.keys)(other).find(record.sha256)) == record
    finally:
        store.run(other.close())


def test_a_session_for_reading_can_not_write(store: Store) -> None:
    async def work() -> None:
        async with store.db.read() as session:
            await session.execute(text("DELETE FROM changes"))

    with pytest.raises((StorageError, DBAPIError)):
        store.run(work())


def test_an_error_inside_undoes_all_of_it(store: Store) -> None:
    async def work() -> None:
        async with store.db.write() as session:
            await session.execute(text("INSERT INTO marks (name, at) VALUES ('x', :at)"), {"at": _moment(store)})
            Changes.append(session, "key", "x", {})
            raise Missing("no")

    with pytest.raises(Missing):
        store.run(work())
    assert store.execute("SELECT * FROM marks") == []
    assert store.run(store.changes.latest()) == 0


def test_an_error_of_the_callers_own_is_not_the_databases(store: Store, tmp_path: Path) -> None:
    async def write() -> None:
        async with store.db.write() as session:
            await session.execute(text("INSERT INTO marks (name, at) VALUES ('x', :at)"), {"at": _moment(store)})
            (tmp_path / "no" / "file").write_bytes(b"")

    async def read() -> None:
        async with store.db.read():
            raise TimeoutError

    with pytest.raises(FileNotFoundError):
        store.run(write())
    with pytest.raises(TimeoutError):
        store.run(read())
    assert store.execute("SELECT * FROM marks") == []


def test_a_writer_that_is_cancelled_leaves_nothing_and_blocks_nobody(store: Store) -> None:
    async def work() -> None:
        inside = asyncio.Event()

        async def stuck() -> None:
            async with store.db.write() as session:
                await session.execute(text("INSERT INTO marks (name, at) VALUES ('x', :at)"), {"at": _moment(store)})
                inside.set()
                await asyncio.Event().wait()

        for _ in range(6):
            task = asyncio.create_task(stuck())
            await inside.wait()
            inside.clear()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.wait_for(store.keys.issue(NewKey("after")), 5)

    store.run(work())
    assert store.execute("SELECT * FROM marks") == []


def test_a_hundred_tasks_write_and_read_at_once(store: Store) -> None:
    async def work() -> None:
        async def one(index: int) -> None:
            record, _ = await store.keys.issue(NewKey(f"key {index}"))
            assert await store.keys.find(record.sha256) == record

        await asyncio.gather(*(one(index) for index in range(100)))

    store.run(work())
    assert len(store.run(store.keys.prefixes())) == 800


def test_ping_answers_in_seconds(store: Store) -> None:
    assert 0 < store.run(store.db.ping()) < 5


def test_closed_twice_and_opened_again(store: Store) -> None:
    store.run(store.db.close())
    store.run(store.db.close())
    with pytest.raises(StorageUnavailable, match="not open"):
        store.run(store.db.ping())
    store.run(store.db.open())
    with pytest.raises(StorageError, match="open already"):
        store.run(store.db.open())
    assert store.run(store.db.schema()) == migrations.HEAD


def test_a_session_that_is_under_way_ends_before_its_connection_is_closed(own_store: Store) -> None:
    async def work() -> None:
        before = connected()
        db = own_store.database()
        await db.open()
        inside, go = asyncio.Event(), asyncio.Event()

        async def session(writes: bool) -> int:
            async with db.write() if writes else db.read() as made:
                inside.set()
                await go.wait()
                return int(await made.scalar(text("SELECT 1")) or 0)

        under_way = [asyncio.create_task(session(writes)) for writes in (False, True, True)]
        await inside.wait()
        closing = asyncio.create_task(db.close())
        await asyncio.sleep(0.05)
        with pytest.raises(StorageError):
            await db.ping()
        assert not closing.done()
        go.set()
        assert await asyncio.gather(*under_way) == [1, 1, 1]
        await closing
        deadline = time.monotonic() + 10
        while connected() != before:  # a thread has told that it closed its connection before it ends
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    own_store.run(work())


def connected() -> int:
    """Connections to SQLite of this process: each has a thread."""
    return sum("_connection_worker_thread" in each.name for each in threading.enumerate())


def test_a_newer_schema_is_left_alone(own_store: Store) -> None:
    own_store.execute(f"UPDATE {migrations.TABLE} SET version_num = '9999'")
    own_store.run(own_store.db.close())
    with pytest.raises(StorageError, match=r"written by a newer Portico \(its schema is 9999"):
        own_store.run(own_store.db.open())
    with pytest.raises(StorageError, match="written by a newer Portico"):
        own_store.run(own_store.database().upgrade())


def test_an_older_schema_on_postgresql_needs_the_command(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(postgres_url, tmp_path):
        pass
    newest = migrations.HEAD
    monkeypatch.setattr(migrations, "KNOWN", (*migrations.KNOWN, "9999"))
    monkeypatch.setattr(migrations, "HEAD", "9999")
    with pytest.raises(StorageError, match=rf"is older \({newest}, and must be 9999\): run `portico db upgrade`"):
        asyncio.run(Database(postgres_url, tmp_path, None).open())


def test_the_sqlite_files_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Store("sqlite:///portico.db", tmp_path) as store:
            store.run(store.keys.issue(NewKey("a")))
            files = sorted(tmp_path.glob("portico.db*"))
            assert {file.name for file in files} >= {"portico.db", "portico.db-wal"}
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(before)


def test_a_wrong_key_is_said_and_nothing_is_overwritten(tmp_path: Path) -> None:
    with Store("sqlite:///portico.db", tmp_path) as store:
        store.run(store.keys.issue(NewKey("a")))
    before = (tmp_path / "portico.db").read_bytes()
    wrong = Database("sqlite:///portico.db", tmp_path, bytes(32))
    with pytest.raises(StorageError, match="not one that this vault's key opens") as raised:
        asyncio.run(wrong.open())
    assert not isinstance(raised.value, StorageUnavailable)
    assert (tmp_path / "portico.db").read_bytes() == before
    with Store("sqlite:///portico.db", tmp_path) as store:
        assert len(store.run(store.keys.prefixes())) == 8


@pytest.mark.parametrize("offset", [20, 100, 4096 + 50, 2 * 4096 + 4000])
def test_a_flipped_bit_is_found(tmp_path: Path, offset: int) -> None:
    with Store("sqlite:///portico.db", tmp_path) as store:
        store.run(store.keys.issue(NewKey("a")))
    assert asyncio.run(_complaints(Store("sqlite:///portico.db", tmp_path).database())) == []
    path = tmp_path / "portico.db"
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)

    assert asyncio.run(_complaints(Store("sqlite:///portico.db", tmp_path).database()))


async def _complaints(db: Database) -> list[str]:
    """What is wrong with the pages of a database."""
    try:
        await db.open()
        async with db.read() as session:
            return [str(row) for row in await session.execute(text("PRAGMA cipher_integrity_check"))]
    except StorageError as error:
        return [str(error)]
    finally:
        await db.close()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    vault = Store("sqlite:///portico.db", tmp_path).vault
    (tmp_path / "portico.db").write_bytes(b"SQLite format 3\0" + bytes(8000))
    with pytest.raises(StorageError, match="not one that this vault's key opens"):
        asyncio.run(Database("sqlite:///portico.db", tmp_path, vault.key("database")).open())
    assert (tmp_path / "portico.db").read_bytes().startswith(b"SQLite format 3\0")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be opened"):
        asyncio.run(Database("sqlite:///portico.db", tmp_path / "gone", bytes(32)).open())


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/sub.db", Path("/nowhere"), bytes(32))
    asyncio.run(_open_and_close(db))
    assert (tmp_path / "sub.db").is_file()


def test_sqlite_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="needs a key"):
        asyncio.run(Database("sqlite:///portico.db", tmp_path, None).open())


async def _open_and_close(db: Database) -> None:
    await db.open()
    await db.close()


def test_postgresql_is_not_migrated_by_a_start(postgres_url: str, tmp_path: Path) -> None:
    db = Database(postgres_url, tmp_path, None)
    with pytest.raises(StorageError, match="run `portico db upgrade`"):
        asyncio.run(db.open())
    assert asyncio.run(db.upgrade()) == ("", migrations.HEAD)
    assert asyncio.run(db.upgrade()) == (migrations.HEAD, migrations.HEAD)
    asyncio.run(_open_and_close(db))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("/portico_test_", "/no_such_database_"), "does not exist"),
        ((r"@[^/]+/", "@127.0.0.1:1/"), "is away"),
        ((r"@[^/]+/", "@nothing.invalid:5432/"), "is away"),
        (("//[^@]+@", "//no_such_person:hunter2@"), "refuses the user"),
    ],
)
def test_postgresql_that_can_not_be_reached(
    postgres_url: str, tmp_path: Path, change: tuple[str, str], sentence: str
) -> None:
    db = Database(re.sub(*change, postgres_url), tmp_path, None)
    with pytest.raises(StorageError, match=sentence) as raised:
        asyncio.run(db.open())
    assert "hunter2" not in str(raised.value)


def test_postgresql_url_is_understood() -> None:
    given = arguments("postgresql://ann:p%40ss@db.example.com:6432/portico?sslmode=verify-full&application_name=x")
    assert (given["host"], given["port"], given["user"], given["password"]) == ("db.example.com", 6432, "ann", "p@ss")
    assert (given["database"], given["ssl"], given["server_settings"]) == (
        "portico",
        "verify-full",
        {"application_name": "x"},
    )


@pytest.mark.parametrize("query", ["sslmode=maybe", "password=hunter2", "options=-c"])
def test_postgresql_url_with_what_is_not_known(query: str) -> None:
    with pytest.raises(StorageError) as raised:
        arguments(f"postgresql://ann@db/portico?{query}")
    assert "hunter2" not in str(raised.value)


def _moment(store: Store) -> object:
    from portico.storage.ids import now

    return int(now().timestamp() * 1_000_000) if store.db.dialect == SQLITE else now()
