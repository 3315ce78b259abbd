"""Backups by the command line: one file from which everything comes back, on an empty machine, into either database."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.integration import kept
from tests.integration.kept import PASSPHRASE, SQLITE, answered, portico
from tests.services import postgres

from portico.errors import BackupError, VaultError
from portico.storage.accounts.keys import Keys
from portico.storage.accounts.records import NewKey
from portico.storage.backup import make, rows
from portico.storage.backup.restore import Restore, Secret
from portico.storage.database import Database
from portico.storage.vault import Vault, manage
from portico.storage.vault.rekey import rekey

OPEN = {"PORTICO_PASSPHRASE": PASSPHRASE}

WRITER = """
import asyncio, sys
from pathlib import Path
from portico.storage.accounts.keys import Keys
from portico.storage.accounts.records import NewKey
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database

async def main():
    vault = Vault.open(Path(sys.argv[1]), None)
    database = Database(sys.argv[2], Path(sys.argv[1]), vault.key("database"))
    await open_database(vault, database)
    while True:
        record, _ = await Keys(database).issue(NewKey("written"))
        print(record.sha256.hex(), flush=True)

asyncio.run(main())
"""


def backed_up(data_dir: Path, url: str, file: Path, passphrase: str | None = None) -> make.Made:
    return kept.with_database(data_dir, url, passphrase, lambda database, vault: make.make(database, vault, file))


def restored(file: Path, data_dir: Path, url: str = SQLITE, force: bool = False, **secret: Any) -> Path | None:
    data_dir.mkdir(exist_ok=True)
    return asyncio.run(Restore.open(file, data_dir, url, Secret(**secret)).run(force))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
def test_from_either_database_into_either(tmp_path: Path, source: str, target: str) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "one.backup"
    old.mkdir()
    with ExitStack() as stack:
        from_url, to_url = (
            stack.enter_context(postgres()) if kind == "postgresql" else SQLITE for kind in (source, target)
        )
        before = kept.fill(old, from_url, PASSPHRASE)
        made = backed_up(old, from_url, file, PASSPHRASE)
        assert made.rows["api_keys"] == 5
        assert restored(file, new, to_url, passphrase=PASSPHRASE) is None
        assert kept.read(new, to_url, PASSPHRASE) == before
        report = answered(
            portico("db", "check", "--json", "-c", _config(tmp_path, to_url), "--data-dir", new, env=OPEN)
        )
        assert report["ok"]
        assert report["sealed"] == 3  # two keys that sign, one of the audit trail
        assert report["rows"]["api_keys"] == 5
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in new.iterdir() if "vault" in path.name) == ["vault.json", "vault.lock"]


def _config(folder: Path, url: str) -> Path:
    file = folder / "portico.yaml"
    file.write_text(f"storage: {{url: '{url}'}}\n")
    return file


def test_new_rows_go_on_after_a_restore(tmp_path: Path, database_url: str) -> None:
    """Numbers that the database gives out do not start again."""
    old, file = tmp_path / "old", tmp_path / "one.backup"
    old.mkdir()
    kept.fill(old)
    backed_up(old, SQLITE, file)
    restored(file, tmp_path / "new", database_url, key_file=old / "vault.key", passphrase="this machine's own")

    async def work(database: Database, vault: Vault) -> None:
        await Keys(database).issue(NewKey("after"))

    kept.with_database(tmp_path / "new", database_url, None, work)
    assert len(kept.read(tmp_path / "new", database_url).keys) == 6


def test_nothing_in_the_file_can_be_read(tmp_path: Path, database_url: str) -> None:
    file = tmp_path / "one.backup"
    before = kept.fill(tmp_path, database_url)
    vault = Vault.open(tmp_path, None)
    backed_up(tmp_path, database_url, file)
    text = file.read_bytes()
    secrets = [b"ada@example.com", b"key 3", *before.keys, vault.master, vault.key("database")]
    secrets += [(tmp_path / "vault.key").read_bytes().strip(), vault.key("backup").hex().encode()]
    assert not [secret for secret in secrets if secret in text or secret.hex().encode() in text]


def test_while_processes_write(tmp_path: Path, database_url: str) -> None:
    """One moment's state: all that was acknowledged before, and of each transaction all or nothing."""
    file, new = tmp_path / "one.backup", tmp_path / "new"
    kept.fill(tmp_path, database_url, keys=10)
    command = [sys.executable, "-c", WRITER, str(tmp_path), database_url]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        acknowledged = set()
        for writer in writers:
            assert writer.stdout is not None
            acknowledged.update(bytes.fromhex(writer.stdout.readline()) for _ in range(20))
        backed_up(tmp_path, database_url, file)
        for writer in writers:  # they went on meanwhile
            assert writer.poll() is None
            assert writer.stdout is not None
            assert writer.stdout.readline()
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    restored(file, new, key_file=tmp_path / "vault.key")
    there = kept.read(new)
    assert acknowledged <= there.keys

    async def changes(database: Database, vault: Vault) -> int:
        from sqlalchemy import func, select

        from portico.storage.tables import ChangeRow

        async with database.read() as session:
            told = select(func.count(ChangeRow.subject.distinct())).where(ChangeRow.kind == "key")
            return int(await session.scalar(told) or 0)

    assert kept.with_database(new, SQLITE, None, changes) == len(there.keys)


def test_nothing_changes_to_what_is_being_read(tmp_path: Path, database_url: str) -> None:
    kept.fill(tmp_path, database_url, keys=3)

    async def work(database: Database, vault: Vault) -> None:
        async with rows.one_moment(database) as session:
            batches = rows.dump(session)
            seen = [await anext(batches)]  # the first table has been read
            await Keys(database).issue(NewKey("meanwhile"))
            seen += [batch async for batch in batches]
        counts = {name: sum(len(each.rows) for each in seen if each.table == name) for name in ("api_keys", "changes")}
        assert counts["api_keys"] == 3
        async with database.read() as session:
            after = await rows.counts(session)
        assert (after["api_keys"], after["changes"]) == (4, counts["changes"] + 1)

    kept.with_database(tmp_path, database_url, None, work)


def test_disaster(tmp_path: Path, database_url: str) -> None:
    """A process writes; a backup; kill -9; the data directory is lost; everything acknowledged before it is back."""
    data, file, safe = tmp_path / "data", tmp_path / "one.backup", tmp_path / "safe.key"
    data.mkdir()
    kept.fill(data, database_url)
    safe.touch(mode=0o600)
    safe.write_bytes((data / "vault.key").read_bytes())
    config = _config(tmp_path, database_url)
    acknowledged = set()
    command = [sys.executable, "-c", WRITER, str(data), database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged.update(bytes.fromhex(writer.stdout.readline()) for _ in range(50))
        assert portico("db", "backup", file, "-c", config, "--data-dir", data).returncode == 0
        writer.kill()
    shutil.rmtree(data)
    into = ["-c", _config(tmp_path, SQLITE), "--data-dir", data]
    plan = answered(portico("db", "restore", file, "--dry-run", "--json", "--key-file", safe, *into))
    assert plan["rows"]["api_keys"] >= 55
    assert plan["age"] < 60
    assert not data.exists() or list(data.iterdir()) == []
    done = portico("db", "restore", file, "--key-file", safe, *into)
    assert done.returncode == 0, done.stderr
    assert acknowledged <= kept.read(data).keys


@pytest.mark.parametrize("kind", ["sqlite", "rows"])
def test_an_altered_file_is_refused(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    url = SQLITE if kind == "sqlite" else request.getfixturevalue("postgres_url")
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "one.backup"
    old.mkdir()
    new.mkdir()
    kept.fill(old, url, keys=1)
    backed_up(old, url, file)
    right = file.read_bytes()
    for index in [*range(0, 900, 61), *range(900, len(right), max(1, len(right) // 40))]:
        file.write_bytes(right[:index] + bytes((right[index] ^ 4,)) + right[index + 1 :])
        with pytest.raises((BackupError, VaultError)):
            restored(file, new, key_file=old / "vault.key")
    assert list(new.iterdir()) == []


def test_secrets_that_do_not_open_it(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "one.backup"
    old.mkdir()
    before = kept.fill(old, SQLITE, PASSPHRASE)
    key = manage.export_recovery(old, PASSPHRASE)
    backed_up(old, SQLITE, file, PASSPHRASE)
    for secret in ({"passphrase": "incorrect horse battery"}, {}, {"recovery_key": key[:-6] + "00000"}):
        with pytest.raises(VaultError):
            restored(file, new, **secret)
    assert list(new.iterdir()) == []
    manage.change(old, PASSPHRASE, "another horse battery")  # the backup is of before, and so is what opens it
    restored(file, new, recovery_key=key)
    manage.recover(new, key, "a third horse battery")
    assert kept.read(new, SQLITE, "a third horse battery") == before


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "one.backup"
    old.mkdir()
    new.mkdir()
    before = kept.fill(old, SQLITE, PASSPHRASE)
    backed_up(old, SQLITE, file, PASSPHRASE)
    others = kept.fill(new, SQLITE, None, keys=2)
    there = files(new)
    with pytest.raises(BackupError, match=r"not empty \(vault.json, portico.db, vault.key\)"):
        restored(file, new, passphrase=PASSPHRASE)
    assert files(new) == there
    past = restored(file, new, force=True, passphrase=PASSPHRASE)
    assert past is not None
    assert past.parent == new
    assert kept.read(new, SQLITE, PASSPHRASE) == before
    assert kept.read(past) == others
    assert not [name for name in files(new) if "portico-backup" in name]


def test_a_postgresql_database_that_is_in_use(tmp_path: Path, postgres_url: str) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "one.backup"
    old.mkdir()
    before = kept.fill(old, postgres_url)
    backed_up(old, postgres_url, file)
    for force in (False, True):
        with pytest.raises(BackupError, match="database is not empty"):
            restored(file, new, postgres_url, force, key_file=old / "vault.key")
    assert list(new.iterdir()) == []
    assert kept.read(old, postgres_url) == before


def test_never_over_a_file(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    (tmp_path / "one.backup").write_text("mine")
    with pytest.raises(BackupError, match="is there already"):
        backed_up(tmp_path, SQLITE, tmp_path / "one.backup")
    assert (tmp_path / "one.backup").read_text() == "mine"
    with pytest.raises(BackupError, match="can't be written"):
        backed_up(tmp_path, SQLITE, tmp_path / "absent" / "one.backup")


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from portico.errors import BackupError
from portico.storage.backup.make import make
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    vault = Vault.open(folder, None)
    database = Database(sys.argv[2], folder, vault.key("database"))
    await open_database(vault, database)
    for limit in map(int, sys.argv[3:]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            await make(database, vault, folder / "one.backup")
            print("made")
        except BackupError as error:
            print(error)
    await database.close()
asyncio.run(main())
"""


def test_a_disk_without_room(tmp_path: Path, database_url: str) -> None:
    kept.fill(tmp_path, database_url, keys=20)
    sizes = ["1000", "3000", "120000", str(1 << 30)]
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), database_url, *sizes], capture_output=True, text=True, timeout=60
    )
    said = done.stdout.splitlines()
    assert len(said) == 4, done.stderr
    assert said[3] == "made"
    assert not [sentence for sentence in said[:2] if "made" in sentence]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".portico-backup")]


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """A backup has its name only when it is whole."""
    kept.fill(tmp_path, keys=30)
    command = [
        sys.executable,
        "-m",
        "portico",
        "db",
        "backup",
        str(tmp_path / "one.backup"),
        "--data-dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".portico-backup-*")) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    if not (tmp_path / "one.backup").exists():
        backed_up(tmp_path, SQLITE, tmp_path / "one.backup")
    restored(tmp_path / "one.backup", tmp_path / "new", key_file=tmp_path / "vault.key")
    assert kept.read(tmp_path / "new") == kept.read(tmp_path)


def test_what_fails_at_the_end_is_taken_back(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "one.backup"
    old.mkdir()
    new.mkdir()
    kept.fill(old, keys=1)
    backed_up(old, SQLITE, file)
    others = kept.fill(new, keys=1)
    before = files(new)
    with pytest.raises(BackupError, match="can't be written"):
        restored(file, new, "sqlite:///absent/portico.db", force=True, key_file=old / "vault.key")
    assert files(new) == before
    assert kept.read(new) == others


def test_a_backup_from_before_a_rekey(tmp_path: Path) -> None:
    before = kept.fill(tmp_path, SQLITE, PASSPHRASE)
    backed_up(tmp_path, SQLITE, tmp_path / "one.backup", PASSPHRASE)
    asyncio.run(rekey(tmp_path, PASSPHRASE, SQLITE))
    restored(tmp_path / "one.backup", tmp_path / "new", passphrase=PASSPHRASE)
    assert kept.read(tmp_path / "new", SQLITE, PASSPHRASE) == before


def test_a_vault_file_that_was_exchanged_meanwhile(tmp_path: Path) -> None:
    """A backup must not hold a key that opens something else."""
    kept.fill(tmp_path)
    (tmp_path / "other").mkdir()
    Vault.open(tmp_path / "other", None)

    async def work(database: Database, vault: Vault) -> None:
        right = (tmp_path / "vault.json").read_bytes()
        (tmp_path / "vault.json").write_bytes((tmp_path / "other" / "vault.json").read_bytes())
        with pytest.raises(BackupError, match="another vault's by now"):
            await make.make(database, vault, tmp_path / "one.backup")
        (tmp_path / "vault.json").write_bytes(right)
        await make.make(database, vault, tmp_path / "one.backup")

    kept.with_database(tmp_path, SQLITE, None, work)
