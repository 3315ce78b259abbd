"""Making a backup while everything goes on, and proving that it can be restored before it gets its name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import SQLAlchemyError

from portico import __version__
from portico.errors import BackupError, PorticoError
from portico.storage import migrations
from portico.storage.audit import note
from portico.storage.backup import container, rows
from portico.storage.backup.container import ROWS, SQLITE, Header
from portico.storage.vault import crypto, files, header, slots

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

SCRATCH: Final = ".portico-backup-"  # folders of unfinished work begin so


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made and verified; `size` in bytes."""

    file: Path
    made: str
    kind: str
    rows: dict[str, int]
    size: int


async def make(database: Database, vault: Vault, file: Path) -> Made:
    """Write a backup of the open `database` to the new file `file`, which appears whole and verified, or not at all.

    Others may write meanwhile: it holds the state of one moment. BackupError or StorageError; nothing is left behind.
    """
    if os.path.lexists(file):
        raise BackupError(f"{file} is there already")
    text = await asyncio.to_thread(_vault_text, vault)
    with told(file), scratch(file.parent) as folder:
        head, body = Header("", _now(), __version__, await database.schema(), {}, text), folder / "body"
        if database.path is not None:
            head = await asyncio.to_thread(_copy, database.path, vault.key("database"), head, body)
        else:
            head = await _dump(database, vault.key("backup"), head, body)
        written = folder / "file"
        await asyncio.to_thread(container.write, written, head, vault.key("backup"), body)
        body.unlink()
        await verify(written, vault, folder)
        counts = {name: count for name, count in head.rows.items() if name != migrations.TABLE}
        done = Made(file, head.made, head.kind, counts, written.stat().st_size)
        await _name(database, written, done)
    return done


async def _name(database: Database, written: Path, made: Made) -> None:
    """Give the finished file its name, and record it: both or neither."""
    placed = False
    try:
        async with database.write() as session:
            detail = {"file": str(made.file), "size": made.size, "rows": sum(made.rows.values())}
            note(session, "db.backup", ("database", database.dialect), detail=detail)
            await asyncio.to_thread(place, written, made.file)
            placed = True
    except BaseException:
        if placed:
            made.file.unlink(missing_ok=True)
        raise


async def verify(file: Path, vault: Vault, folder: Path) -> None:
    """Restore `file` into `folder`, and count. BackupError when it is not what was written, or not whole."""
    opened = await asyncio.to_thread(container.read, file)
    await asyncio.to_thread(container.prove, file, opened, vault.key("backup"))
    restored = folder / "verify.db"
    if opened.header.kind == SQLITE:
        found = await asyncio.to_thread(_check_copy, file, opened, restored, vault.key("database"))
    else:
        key = os.urandom(32)
        async with rows.engine(f"sqlite:///{restored}", folder, key) as engine:
            with open(file, "rb") as stream:
                stream.seek(opened.start)
                batches = rows.read(stream, body_key(vault.key("backup"), opened.header))
                found = await rows.fill(engine, rows.in_turn(batches), opened.header.schema)
    if _filled(found) != _filled(opened.header.rows):
        raise container.damaged(file)


def body_key(key: bytes, head: Header) -> bytes:
    """The key of the batches of one backup of kind "rows"."""
    return crypto.derive(key, "rows", bytes.fromhex(head.salt))


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder 0700 for unfinished work beside where its result will be; removed at the end."""
    made = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def told(file: Path) -> Iterator[None]:
    """Raise BackupError, in a sentence, for what the disk or a driver raises inside."""
    from portico.storage import failures

    try:
        yield
    except PorticoError:
        raise
    except OSError as error:
        raise BackupError(f"{file} can't be written: {error.strerror or type(error).__name__}") from error
    except Exception as error:
        known = failures.translate(error)
        if known is not None:
            raise BackupError(str(known)) from error
        if isinstance(error, SQLAlchemyError) or type(error).__module__.startswith("sqlcipher3"):
            raise BackupError(f"the database can't be copied: {type(error).__name__}") from error
        raise


def counted(connection: Any) -> dict[str, int]:
    """The rows of each table of an SQLite connection."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in names}


def unsound(connection: Any) -> list[str]:
    """What is wrong with the pages and indices of an SQLite connection; at most a few lines."""
    found = [row[0] for row in connection.execute("PRAGMA cipher_integrity_check").fetchmany(10)]
    if not found:  # else the next would fail on the first of those pages
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(10)").fetchall() if row[0] != "ok"]
    if not found:
        lost = connection.execute("PRAGMA foreign_key_check")
        found = [f"a row of {row[0]} refers to one that is gone" for row in lost]
    return found[:10]


def place(written: Path, file: Path) -> None:
    """Give the finished file its name, unless something else has it by now; synced."""
    try:
        os.link(written, file)  # not a rename, which would write over what came meanwhile
    except FileExistsError:
        raise BackupError(f"{file} is there already") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(file):
            raise BackupError(f"{file} is there already") from None
        written.rename(file)
    files.sync_folder(file.parent)


def _copy(source: Path, key: bytes, head: Header, body: Path) -> Header:
    """The SQLite file as of one moment, compacted and encrypted under the same key. Blocks; writers go on."""
    os.close(os.open(body, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    with _connected(source, key) as connection:
        connection.execute("VACUUM INTO ?", (str(body),))
    with _connected(body, key) as connection:
        return replace(head, kind=SQLITE, rows=counted(connection))


async def _dump(database: Database, key: bytes, head: Header, body: Path) -> Header:
    """The rows of PostgreSQL as of one moment."""
    head = replace(head, kind=ROWS, salt=os.urandom(crypto.SALT).hex())
    counts: dict[str, int] = {}
    number = 0
    with open(body, "xb", opener=container.private) as stream:
        async with rows.one_moment(database) as session:
            async for batch in rows.dump(session):
                await asyncio.to_thread(rows.write, stream, number, batch, body_key(key, head))
                number += 1
                counts[batch.table] = counts.get(batch.table, 0) + len(batch.rows)
        rows.write(stream, number, None, body_key(key, head))
    return replace(head, rows=counts)


def _check_copy(file: Path, opened: container.Opened, restored: Path, key: bytes) -> dict[str, int]:
    container.extract(file, opened, restored)
    with _connected(restored, key) as connection:
        if unsound(connection):
            raise container.damaged(file)
        return counted(connection)


@contextlib.contextmanager
def _connected(path: Path, key: bytes) -> Iterator[Any]:
    from portico.storage import sqlite

    with contextlib.closing(sqlite.connector(path, key)()) as connection:
        yield connection


def _filled(counts: Mapping[str, int]) -> dict[str, int]:
    """Without empty tables, which one kind counts and the other does not."""
    return {name: count for name, count in counts.items() if count}


def _vault_text(vault: Vault) -> str:
    head = slots.load(vault.data_dir)
    if head.id != vault.header.id:
        raise BackupError(f"{vault.data_dir / slots.FILE} is another vault's by now: put the right one back")
    if head.next is not None:
        raise BackupError("a change of the master key was broken off: finish it first with `portico vault rekey`")
    return header.write(head).decode()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
