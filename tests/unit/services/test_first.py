"""The first administrator, where several processes start at once and where a start was broken off."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from portico.services.auth import first
from portico.storage.accounts import Keys, People
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database

RACE = """
import asyncio, sys
from pathlib import Path
from portico.services.auth import first
from portico.storage.accounts import Keys, People
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database

async def main():
    vault = Vault.open(Path(sys.argv[2]), None)
    db = Database(sys.argv[1], Path(sys.argv[2]), vault.key("database"))
    await open_database(vault, db)
    sys.stdin.readline()
    await first.administrator(Path(sys.argv[2]), People(db), Keys(db))
    await db.close()

asyncio.run(main())
"""


def run(url: str, data_dir: Path, work: Callable[[Database], Awaitable[None]]) -> None:
    async def main() -> None:
        vault = Vault.open(data_dir, None)
        db = Database(url, data_dir, vault.key("database"))
        if db.dialect != "sqlite":
            await db.upgrade()
        await open_database(vault, db)
        try:
            await work(db)
        finally:
            await db.close()

    asyncio.run(main())


async def administrators(db: Database) -> list[str]:
    return [person.id for person in (await People(db).list())[0]]


def test_processes_that_start_at_once_make_one_administrator_with_one_key(database_url: str, tmp_path: Path) -> None:
    run(database_url, tmp_path, lambda db: asyncio.sleep(0))
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, database_url, str(tmp_path)], stdin=subprocess.PIPE)
        for _ in range(3)
    ]
    for racer in racers:
        racer.communicate(b"go\n", timeout=60)
        assert racer.returncode == 0

    async def check(db: Database) -> None:
        keys, _ = await Keys(db).list()
        assert len(keys) == 1
        assert await administrators(db) == [keys[0].owner]
        text = (tmp_path / first.FILE).read_text().strip()
        assert hashlib.sha256(text.encode()).digest() == keys[0].sha256

    run(database_url, tmp_path, check)


@pytest.mark.parametrize("after", ["the file", "the administrator", "the key"])
def test_a_start_that_was_broken_off_is_made_up_for(database_url: str, tmp_path: Path, after: str) -> None:
    """Killed after the file was made, after the administrator was created, or before the key was written down."""

    async def work(db: Database) -> None:
        people, keys = People(db), Keys(db)
        path = tmp_path / first.FILE
        path.touch(0o600)
        if after != "the file":
            person = await people.first_administrator()
            assert person is not None
            if after == "the key":
                await keys.issue(first.NewKey(first.FILE, person.id, permissions=("*",)))
        await first.administrator(tmp_path, people, keys)
        text = path.read_text().strip()
        found = await keys.find(hashlib.sha256(text.encode()).digest())
        assert found is not None
        assert found.permissions == ("*",)
        assert await administrators(db) == [found.owner]
        await first.administrator(tmp_path, people, keys)  # and it is done once
        assert path.read_text().strip() == text

    run(database_url, tmp_path, work)


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        target = tmp_path / "precious"
        target.touch()
        os.symlink(target, tmp_path / first.FILE)
        with pytest.raises(OSError, match="gateway_token"):
            await first.administrator(tmp_path, People(db), Keys(db))
        assert target.read_text() == ""

    run("sqlite:///portico.db", tmp_path, work)
