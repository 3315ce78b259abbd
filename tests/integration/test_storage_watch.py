"""A change is noticed by other processes, soon, also when a notification is lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from tests.integration.storage_processes import Worker
from tests.unit.storage.kit import Store

from portico.storage.accounts import NewKey
from portico.storage.postgresql import CHANNEL, arguments

SOON = 0.3  # seconds after the commit
LOST = 0.7  # where the notification is lost


def changed(store: Store, watcher: Worker) -> float:
    """Issue a key; the seconds until the other process has read the change."""
    record, _ = store.run(store.keys.issue(NewKey("a")))
    done = time.monotonic()
    while (said := watcher.line())["subject"] != record.id:
        pass
    return float(said["at"]) - done


def test_a_change_is_noticed_by_another_process_at_once(database_url: str, tmp_path: Path) -> None:
    with Store(database_url, tmp_path) as store, Worker("watch", database_url, tmp_path) as watcher:
        assert watcher.line() == {"ready": True}
        _settled(store)
        took = sorted(changed(store, watcher) for _ in range(12))
        assert took[len(took) // 2] < SOON, took
        assert took[-1] < 2 * SOON, took  # on a machine that is busy with other things


def test_without_notifications_the_poll_notices(postgres_url: str, tmp_path: Path) -> None:
    with Store(postgres_url, tmp_path) as store, Worker("watch", postgres_url, tmp_path) as watcher:
        assert watcher.line() == {"ready": True}
        _settled(store)
        took = []
        for _ in range(4):
            store.run(_deafen(store))
            took.append(changed(store, watcher))
        assert sorted(took)[len(took) // 2] < LOST, took
        assert max(took) < 2 * LOST, took


def test_the_watch_survives_a_server_that_drops_everybody(postgres_url: str, tmp_path: Path) -> None:
    with Store(postgres_url, tmp_path) as store, Worker("watch", postgres_url, tmp_path) as watcher:
        assert watcher.line() == {"ready": True}
        for _ in range(3):
            store.run(_terminate(store, "pid <> pg_backend_pid() AND datname = current_database()"))
            assert changed(store, watcher) < 5


def test_numbers_are_seen_in_order_and_none_is_missed(postgres_url: str, tmp_path: Path) -> None:
    """Transactions that commit in another order than they began: whoever has read up to a number misses none below."""
    with Store(postgres_url, tmp_path) as store:

        async def work() -> list[int]:
            seen, last, going = [0], 0, True

            async def reader() -> None:
                nonlocal last
                while going or await store.changes.latest() > last:
                    for each in await store.changes.since(last):
                        seen.append(each.number)
                        last = each.number
                    await asyncio.sleep(0)

            reading = asyncio.create_task(reader())

            async def writer(index: int) -> None:
                for _ in range(10):
                    async with store.db.write() as session:
                        await asyncio.sleep(0.001 * (index % 5))
                        store.changes.append(session, "key", f"w{index}", {})

            await asyncio.gather(*(writer(index) for index in range(8)))
            going = False
            await reading
            return seen[1:]

        seen = store.run(work())
        assert len(seen) == 80
        assert seen == sorted(seen)


def _settled(store: Store) -> None:
    """Wait until the watcher listens, where it does."""
    if store.db.path is not None:
        return

    async def work() -> None:
        import asyncpg

        connection = await asyncpg.connect(**arguments(store.url))
        try:
            async with asyncio.timeout(10):
                while not await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE $1", f'LISTEN "{CHANNEL}"%'
                ):
                    await asyncio.sleep(0.01)
        finally:
            await connection.close()

    store.run(work())


async def _deafen(store: Store) -> None:
    """End the connection on which the watcher listens."""
    await _terminate(store, f"query LIKE 'LISTEN \"{CHANNEL}\"%'")


async def _terminate(store: Store, which: str) -> None:
    """Returns when they are gone: a transaction that begins before would be lost half-way."""
    import asyncpg

    connection = await asyncpg.connect(**arguments(store.url))
    try:
        await connection.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {which}")
    finally:
        await connection.close()


@pytest.mark.parametrize("times", [3])
def test_own_changes_are_noticed_too(database_url: str, tmp_path: Path, times: int) -> None:
    with Store(database_url, tmp_path) as store:

        async def work() -> None:
            noticed = asyncio.Event()
            watching = asyncio.create_task(store.changes.watch(noticed.set))
            await asyncio.sleep(0.3)
            for _ in range(times):
                noticed.clear()
                await store.keys.issue(NewKey("a"))
                await asyncio.wait_for(noticed.wait(), 2)
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching

        store.run(work())
