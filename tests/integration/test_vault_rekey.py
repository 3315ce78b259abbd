"""A new master key: everything is still there, nothing opens with the old one, a kill at any moment loses nothing."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration import kept
from tests.integration.kept import PASSPHRASE, SQLITE

from portico.errors import StorageUnavailable, VaultError
from portico.jobs import Handlers, Jobs, New
from portico.jobs.wake import Wake
from portico.services.detection.background import KIND
from portico.services.detection.envelope import Asked, Envelopes
from portico.storage.database import Database
from portico.storage.ids import uuid7
from portico.storage.tables import METADATA, SEALED
from portico.storage.vault import Vault, manage, pending
from portico.storage.vault.binding import open_database
from portico.storage.vault.rekey import rekey

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from portico.storage.vault.rekey import rekey
folder, url, passphrase, last = sys.argv[1:]
def step(name):
    print(name, flush=True)
    if name == last:
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(rekey(Path(folder), passphrase or None, url, step))
"""
ON_SQLITE = ("announced", "alone", "copied", "encrypted", "sealed", "synced", "replaced", "done")
ON_POSTGRESQL = ("announced", "sealed", "replaced", "done")


def again(folder: Path, url: str, passphrase: str | None = None) -> None:
    asyncio.run(rekey(folder, passphrase, url))


def unfinished(folder: Path) -> bool:
    return "next" in json.loads((folder / "vault.json").read_text())


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["key file", "passphrase"])
def test_everything_is_still_there(tmp_path: Path, database_url: str, passphrase: str | None) -> None:
    before = kept.fill(tmp_path, database_url, passphrase)
    old = Vault.open(tmp_path, passphrase)
    assert before.signing.count('"kid"') == 2
    again(tmp_path, database_url, passphrase)
    new = Vault.open(tmp_path, passphrase)
    assert new.fingerprint != old.fingerprint
    assert kept.read(tmp_path, database_url, passphrase) == before
    if database_url == SQLITE:
        assert not pending.opens(tmp_path / "portico.db", old.key("database"))
        assert (tmp_path / "portico.db").stat().st_mode & 0o777 == 0o600
    assert not [path.name for path in tmp_path.iterdir() if "rekey" in path.name]


def killed_at(folder: Path, url: str, last: str, passphrase: str | None) -> None:
    """Run a rekey in a process of its own, which is killed when it has done that step."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(folder), url, passphrase or "", last],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.split()[-1] == last


@pytest.mark.parametrize("step", ON_SQLITE)
def test_killed_on_sqlite(tmp_path: Path, step: str) -> None:
    before = kept.fill(tmp_path)
    old = Vault.open(tmp_path, None).fingerprint
    killed_at(tmp_path, SQLITE, step, None)
    assert unfinished(tmp_path) == (step != "done")
    found = Vault.open(tmp_path, None)
    assert (found.fingerprint == old) == (step not in ("replaced", "done"))
    assert not unfinished(tmp_path)
    assert kept.read(tmp_path) == before
    assert not [path.name for path in tmp_path.iterdir() if "rekey" in path.name]
    again(tmp_path, SQLITE)
    assert Vault.open(tmp_path, None).fingerprint not in (old, found.fingerprint)
    assert kept.read(tmp_path) == before


@pytest.mark.parametrize("step", ON_SQLITE[:1] + ON_SQLITE[-2:-1])
def test_killed_and_rekeyed_without_a_start_between(tmp_path: Path, step: str) -> None:
    before = kept.fill(tmp_path, SQLITE, PASSPHRASE)
    killed_at(tmp_path, SQLITE, step, PASSPHRASE)
    again(tmp_path, SQLITE, PASSPHRASE)
    assert kept.read(tmp_path, SQLITE, PASSPHRASE) == before


@pytest.mark.parametrize("step", ON_POSTGRESQL)
def test_killed_on_postgresql(tmp_path: Path, postgres_url: str, step: str) -> None:
    before = kept.fill(tmp_path, postgres_url)
    old = Vault.open(tmp_path, None).fingerprint
    killed_at(tmp_path, postgres_url, step, None)
    if step != "done":
        with pytest.raises(VaultError, match="`portico vault rekey` finishes it"):
            Vault.open(tmp_path, None)
        again(tmp_path, postgres_url)
    assert Vault.open(tmp_path, None).fingerprint != old
    assert kept.read(tmp_path, postgres_url) == before


def test_killed_while_another_start_waits(tmp_path: Path) -> None:
    """Who opens the vault while a rekey works waits for its end, and gets the new key."""
    before = kept.fill(tmp_path)
    old = Vault.open(tmp_path, None).fingerprint
    slow = DYING.replace("    if name", "    import time; time.sleep(0.2)\n    if name")
    with subprocess.Popen(
        [sys.executable, "-c", slow, str(tmp_path), SQLITE, "", "never"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "announced\n"
        assert Vault.open(tmp_path, None).fingerprint != old
        assert process.wait(30) == 0
    assert kept.read(tmp_path) == before


def test_a_recovery_key_is_void_afterwards(tmp_path: Path) -> None:
    before = kept.fill(tmp_path, SQLITE, PASSPHRASE)
    key = manage.export_recovery(tmp_path, PASSPHRASE)
    assert asyncio.run(rekey(tmp_path, PASSPHRASE, SQLITE)).recovery_key_void
    with pytest.raises(VaultError, match="no recovery key"):
        manage.recover(tmp_path, key, PASSPHRASE)
    assert kept.read(tmp_path, SQLITE, PASSPHRASE) == before


@pytest.mark.parametrize("step", ["sealed", "replaced"])
def test_the_passphrase_is_lost_in_the_middle(tmp_path: Path, step: str) -> None:
    before = kept.fill(tmp_path, SQLITE, PASSPHRASE)
    key = manage.export_recovery(tmp_path, PASSPHRASE)
    killed_at(tmp_path, SQLITE, step, PASSPHRASE)
    if step == "replaced":
        with pytest.raises(VaultError, match="only the passphrase can finish it"):
            manage.recover(tmp_path, key, PASSPHRASE)
    else:
        manage.recover(tmp_path, key, "another horse battery")
        assert kept.read(tmp_path, SQLITE, "another horse battery") == before


def test_every_sealed_column_is_on_the_list() -> None:
    named = {(each.table, each.column) for each in SEALED}
    for table in METADATA.sorted_tables:
        for column in table.columns:
            assert ("seal" in column.name) == ((table.name, column.name) in named)


def test_texts_that_wait_to_be_judged_can_still_be_read(tmp_path: Path, database_url: str) -> None:
    asked = Asked("a text", 0.5, True, None, None, "r", "key:ada")
    kept.fill(tmp_path, database_url)

    async def enqueue(database: Database, vault: Vault) -> list[str]:
        jobs = Jobs(database, Handlers(), Wake(database))
        names = [uuid7(), uuid7()]
        payloads = [Envelopes(vault).seal(names[0], "key:ada", asked), {"owner": "key:ada", "print": "judged"}]
        news = [New(KIND, payload, id=name) for name, payload in zip(names, payloads, strict=True)]
        async with database.write() as session:
            assert await jobs.enqueue_many(session, news) == names
        return names

    async def read(database: Database, vault: Vault) -> tuple[Asked, dict[str, Any]]:
        jobs = Jobs(database, Handlers(), Wake(database))
        waiting, judged = [await jobs.get(name) for name in names]
        assert waiting is not None
        assert judged is not None
        assert not Envelopes(vault).differ(waiting.payload["print"], Envelopes(vault).print(asked))
        return Envelopes(vault).open(names[0], waiting.payload), judged.payload

    names = kept.with_database(tmp_path, database_url, None, enqueue)
    again(tmp_path, database_url)
    assert kept.with_database(tmp_path, database_url, None, read) == (asked, {"owner": "key:ada", "print": "judged"})


def test_without_a_database(tmp_path: Path) -> None:
    old = Vault.open(tmp_path, None).fingerprint
    with pytest.raises(VaultError, match="no database yet"):
        again(tmp_path, SQLITE)
    assert Vault.open(tmp_path, None).fingerprint == old


def test_while_another_process_has_it_open(tmp_path: Path) -> None:
    before = kept.fill(tmp_path)
    old = Vault.open(tmp_path, None)

    async def attempt() -> None:
        database = Database(SQLITE, tmp_path, old.key("database"))
        await open_database(old, database)
        try:
            async with database.read() as session:
                await session.connection()
                with pytest.raises((VaultError, StorageUnavailable)):
                    await asyncio.to_thread(asyncio.run, rekey(tmp_path, None, SQLITE))
        finally:
            await database.close()

    asyncio.run(attempt())
    assert Vault.open(tmp_path, None).fingerprint == old.fingerprint
    assert kept.read(tmp_path) == before
    assert not [path.name for path in tmp_path.iterdir() if "rekey" in path.name]


def test_a_sealed_field_that_was_altered_stops_it(tmp_path: Path, database_url: str) -> None:
    kept.fill(tmp_path, database_url)
    old = Vault.open(tmp_path, None).fingerprint

    async def alter(database: Database, vault: Vault) -> None:
        from sqlalchemy import update

        from portico.storage.tables import SigningKeyRow

        async with database.write() as session:
            await session.execute(update(SigningKeyRow).values(sealed=b"\x01" + bytes(60)))

    kept.with_database(tmp_path, database_url, None, alter)
    with pytest.raises(VaultError, match="can't be opened"):
        again(tmp_path, database_url)
    assert not unfinished(tmp_path)
    assert Vault.open(tmp_path, None).fingerprint == old


@pytest.mark.long
def test_killed_at_any_time(tmp_path: Path) -> None:
    """60 kills at random moments of a rekey of some megabytes."""
    before = kept.fill(tmp_path, keys=4000)
    command = [sys.executable, "-c", DYING, str(tmp_path), SQLITE, "", "never"]
    began = time.monotonic()
    assert subprocess.run(command, timeout=60, capture_output=True).returncode == 0
    whole = time.monotonic() - began
    chance = random.Random(8)
    for _ in range(60):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(whole * chance.uniform(0.3, 1.1))
            process.kill()
        assert kept.read(tmp_path) == before
