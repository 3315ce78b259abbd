"""Backups by the clock: made when due, by one process, verified, the newest kept; a failure is told and got over."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.integration import kept
from tests.integration.kept import SQLITE

from portico.contracts import Backups
from portico.storage.backup.restore import Restore, Secret
from portico.storage.backup.schedule import TIME, Schedule
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database
from portico.testing import GatewayHarness, wait_for


@asynccontextmanager
async def opened(folder: Path, url: str = SQLITE) -> AsyncIterator[tuple[Database, Vault]]:
    vault = Vault.open(folder, None)
    database = Database(url, folder, vault.key("database"))
    await open_database(vault, database)
    try:
        yield database, vault
    finally:
        await database.close()


async def until(true: Callable[[], object], patience: float = 20.0) -> None:
    """Wait until `true()`."""
    async with asyncio.timeout(patience):
        while not true():
            await asyncio.sleep(0.02)


def named(folder: Path, age: float) -> Path:
    """A backup's name as it was `age` seconds ago."""
    return folder / f"portico-{(datetime.now(UTC) - timedelta(seconds=age)).strftime(TIME)}.backup"


def test_the_newest_are_kept(tmp_path: Path, database_url: str) -> None:
    kept.fill(tmp_path, database_url)
    folder = tmp_path / "backups"
    folder.mkdir()
    old = [named(folder, age) for age in (4000, 3000, 2000)]
    for path in old:
        path.write_bytes(b"")
    mine = folder / "portico-mine.backup"
    mine.write_bytes(b"")

    async def work() -> None:
        async with opened(tmp_path, database_url) as (database, vault):
            schedule = Schedule(database, vault, Backups(1.0, 2, ""), tmp_path)
            schedule.start()
            try:
                await until(lambda: not any(path.exists() for path in old))
                await until(lambda: len(schedule.kept()) == 2)
                first = schedule.kept()[-1]
                await until(lambda: schedule.kept()[-1] != first and len(schedule.kept()) == 2)
            finally:
                await schedule.stop()
            assert schedule.problem() == ""
            await schedule.stop()

    asyncio.run(work())
    assert mine.exists()
    left = sorted(path.name for path in folder.iterdir())
    assert len(left) == 4, left  # two, mine, and the lock
    newest = max(path for path in folder.iterdir() if path.name.startswith("portico-2"))
    new = tmp_path / "new"
    new.mkdir()
    restore = Restore.open(newest, new, SQLITE, Secret(key_file=tmp_path / "vault.key"))
    asyncio.run(restore.run(False))
    assert kept.read(new) == kept.read(tmp_path, database_url)


def test_a_restart_is_no_reason_for_a_backup(tmp_path: Path) -> None:
    kept.fill(tmp_path)

    async def work() -> None:
        async with opened(tmp_path) as (database, vault):
            for expected in (1, 1, 1):
                schedule = Schedule(database, vault, Backups(3600.0, 2, str(tmp_path / "to")), tmp_path)
                assert await schedule.turn() > 0
                await schedule.stop()
                assert len(schedule.kept()) == expected

    asyncio.run(work())


def test_one_process_makes_them(tmp_path: Path) -> None:
    kept.fill(tmp_path)

    async def work() -> None:
        async with opened(tmp_path) as (database, vault):
            first, second = (Schedule(database, vault, Backups(1.0, 50, ""), tmp_path) for _ in range(2))
            await first.turn()
            made = first.kept()
            assert len(made) == 1
            await asyncio.sleep(1.1)  # due again, but it is the other's to make
            assert await second.turn() > 0
            assert second.kept() == made
            await first.stop()
            await second.turn()
            assert len(second.kept()) == 2
            await second.stop()

    asyncio.run(work())


def test_none_are_wanted(tmp_path: Path) -> None:
    kept.fill(tmp_path)

    async def work() -> None:
        async with opened(tmp_path) as (database, vault):
            schedule = Schedule(database, vault, Backups(), tmp_path)
            schedule.start()
            assert schedule.problem() == ""
            await schedule.stop()

    asyncio.run(work())
    assert not (tmp_path / "backups").exists()


def test_a_failure_is_told_and_got_over(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    folder = tmp_path / "to"
    folder.write_text("a file where the folder should be")

    async def work() -> None:
        async with opened(tmp_path) as (database, vault):
            schedule = Schedule(database, vault, Backups(1.0, 2, str(folder)), tmp_path)
            schedule.start()
            try:
                await until(schedule.problem)
                assert schedule.problem() == f"the last backup failed: {folder}: File exists"
                folder.unlink()
                await until(lambda: schedule.kept() and not schedule.problem())
            finally:
                await schedule.stop()

    asyncio.run(work())


def test_missing_backups_are_a_problem_wherever_they_are_made(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    folder = tmp_path / "backups"
    folder.mkdir()
    named(folder, 500).write_bytes(b"")

    async def work() -> None:
        async with opened(tmp_path) as (database, vault):
            schedule = Schedule(database, vault, Backups(100.0, 2, ""), tmp_path)
            assert "no backup has been made for" in schedule.problem()
            named(folder, 50).write_bytes(b"")
            assert schedule.problem() == ""

    asyncio.run(work())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    left = tmp_path / "backups" / ".portico-backup-abc"
    left.mkdir(parents=True)
    (left / "body").write_bytes(b"x" * 1000)

    async def work() -> None:
        async with opened(tmp_path) as (database, vault):
            schedule = Schedule(database, vault, Backups(1.0, 2, ""), tmp_path)
            await schedule.turn()
            await schedule.stop()
            assert len(schedule.kept()) == 1

    asyncio.run(work())
    assert not left.exists()


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from portico.contracts import Backups
from portico.storage.backup.schedule import Schedule
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    vault = Vault.open(folder, None)
    database = Database("sqlite:///portico.db", folder, vault.key("database"))
    await open_database(vault, database)
    schedule = Schedule(database, vault, Backups(1.0, 1, ""), folder)
    for limit in (resource.RLIM_INFINITY, 50_000, resource.RLIM_INFINITY):
        await asyncio.sleep(1.1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        await schedule.turn()
        print(len(schedule.kept()), schedule.kept()[-1].name, schedule.problem() or "well", sep="|")
    await schedule.stop()
    await database.close()
asyncio.run(main())
"""


def test_a_full_disk_leaves_those_that_there_are(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60)
    lines = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 2]
    assert len(lines) == 3, done.stderr
    (_, first, well), (_, still, problem), (_, last, again) = lines
    assert {count for count, _, _ in lines} == {"1"}
    assert (first, well, again) == (still, "well", "well")
    assert last > first
    assert problem.startswith("the last backup failed: ")
    assert not list((tmp_path / "backups").glob(".portico-backup-*"))


def test_a_gateway_makes_them(tmp_path: Path) -> None:
    to = tmp_path / "to"
    with GatewayHarness({"backups": {"every": "1s", "keep": 2, "to": str(to)}}) as gateway:
        wait_for(lambda: len(list(to.glob("portico-*.backup"))) == 2, 30)
        newest = max(to.glob("portico-*.backup"))
        shutil.copy(gateway.data_dir / "vault.key", tmp_path / "safe.key")
        (tmp_path / "safe.key").chmod(0o600)
        shutil.copy(newest, tmp_path / "one.backup")
    new = tmp_path / "new"
    new.mkdir()
    restore = Restore.open(tmp_path / "one.backup", new, SQLITE, Secret(key_file=tmp_path / "safe.key"))
    asyncio.run(restore.run(False))
    kept.read(new)


def test_a_gateway_tells_of_a_failure(tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.write_text("a file where the folder should be")
    key = "pk_admin_0123456789abcdef"
    config = {
        "backups": {"every": "1s", "to": str(to)},
        "keys": [{"id": "admin", "sha256": hashlib.sha256(key.encode()).hexdigest(), "permissions": ["*"]}],
    }
    with GatewayHarness(config) as gateway:

        def told() -> str:
            answer = gateway.request("GET", "/api/v1/admin/status", headers=[("X-API-Key", key)])
            return str(json.loads(answer.body)["details"]["database"]["detail"])

        wait_for(lambda: "the last backup failed" in told(), 20)
        assert str(to) in told()
        wait_for(lambda: "backup failed" in gateway.output(), 20)
        to.unlink()
        wait_for(lambda: "failed" not in told(), 20)
