"""A new master key: the SQLite file encrypted anew, or PostgreSQL's fields sealed anew. It may die at any moment.

vault.json holds both keys from before the first change until after the last (`next`). SQLite: all work is on a copy,
which takes the database's place by one rename. PostgreSQL: one transaction, which also changes the mark that says which
key counts. So what is found after a crash is wholly old or wholly new, and it says which.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portico.errors import StorageUnavailable, VaultError
from portico.storage.vault import binding, crypto, files, pending, slots
from portico.storage.vault.header import RECOVERY, Header
from portico.storage.vault.slots import LOCK, load, save
from portico.storage.vault.vault import Vault, fingerprint

if TYPE_CHECKING:
    from portico.storage.database import Database

Step = Callable[[str], None]  # told of each step that is done


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """What was done: sealed fields sealed anew, and whether a recovery key has lost its use."""

    fields: int
    recovery_key_void: bool


async def rekey(data_dir: Path, passphrase: str | None, url: str, step: Step = lambda _: None) -> Rekeyed:
    """Replace the master key. Nobody else may have the database open: the caller holds the gateway's lock.

    VaultError or StorageError; then the old key counts, unless the work was done but for its last step, which the next
    opening of the vault does. Blocks the event loop.
    """
    from portico.storage.database import Database

    with files.locked(data_dir / LOCK):
        head = load(data_dir)
        secret = slots.secret_of(data_dir, head, passphrase)
        master = slots.master_of(data_dir, head, secret)
        database = Database(url, data_dir, crypto.derive(master, "database"))
        if head.next is not None:
            head, master = await _finish(data_dir, head, secret, master, database)
            save(data_dir, head)
            database = Database(url, data_dir, crypto.derive(master, "database"))
        old = Vault(data_dir, head, master)
        new = Vault(data_dir, head, os.urandom(crypto.KEY))
        void = head.slot(RECOVERY) is not None
        if database.path is not None:
            old.expect(database.path)
            fields = _sqlite(database.path, old, new, secret, step)
        else:
            fields = await _postgresql(database, old, new, secret, step)
        save(data_dir, pending.finished(load(data_dir), secret, new.master))
        step("done")
    return Rekeyed(fields, void)


async def _finish(
    data_dir: Path, head: Header, secret: bytes, master: bytes, database: Database
) -> tuple[Header, bytes]:
    """What `pending.settle` does, also for PostgreSQL, whose mark says which key counts."""
    assert head.next is not None
    if head.next.database:
        return pending.settle(data_dir, head, secret, master)
    if database.path is not None:
        raise VaultError("the change of the master key that was broken off was of PostgreSQL: name it in storage.url")
    following = slots.next_of(data_dir, head, secret)
    await database.open()
    try:
        async with database.read() as session:
            found = await binding.owner(session)
    finally:
        await database.close()
    if found == fingerprint(following):
        return pending.finished(head, secret, following), following
    return replace(head, next=None), master


def _sqlite(path: Path, old: Vault, new: Vault, secret: bytes, step: Step) -> int:
    from sqlcipher3 import dbapi2  # type: ignore[import-untyped]

    data_dir = old.data_dir
    copy = path.with_name(path.name + pending.COPY)
    if not path.exists():
        raise VaultError(f"there is no database yet in {data_dir}: a vault without one needs no other master key")
    _need_room(path)
    pending.remove_copy(path)
    announced = slots.announce(old.header, binding.name_in(data_dir, path), secret, new.master)
    save(data_dir, announced)
    step("announced")
    try:
        source = _connect(path, old.key("database"))
        try:
            source.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
            if source.execute("PRAGMA journal_mode = DELETE").fetchone()[0] != "delete":
                raise VaultError("another process has the database open: stop it first")
            step("alone")
            os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            source.execute("VACUUM INTO ?", (str(copy),))
        finally:
            source.close()
        step("copied")
        fields = _anew(copy, old, new, step)
        _sync(copy)
        step("synced")
    except (dbapi2.Error, OSError, VaultError) as error:
        pending.remove_copy(path)
        save(data_dir, old.header)
        if isinstance(error, VaultError):
            raise
        raise _said(error) from error
    # From here on only a crash can come between, and then the database tells.
    copy.replace(path)
    files.sync_folder(path.parent)
    step("replaced")
    return fields


def _anew(copy: Path, old: Vault, new: Vault, step: Step) -> int:
    """Encrypt the copy under the new key, seal its fields anew, and read all of it once more."""
    from portico.storage.tables import SEALED, SEALED_INSIDE, sealed_as

    connection = _connect(copy, old.key("database"))
    try:
        connection.execute(f"PRAGMA rekey = \"x'{new.key('database').hex()}'\"")
        step("encrypted")
        connection.execute("BEGIN IMMEDIATE")
        count = 0
        for each in SEALED:
            rows = connection.execute(f'SELECT "{each.id}", "{each.column}" FROM "{each.table}"').fetchall()
            for id_, sealed in rows:
                row = sealed_as(each.table, id_)
                value = new.seal(old.unseal(sealed, row), row)
                connection.execute(f'UPDATE "{each.table}" SET "{each.column}" = ? WHERE "{each.id}" = ?', (value, id_))
                count += 1
        for inside in SEALED_INSIDE:
            found = f"json_extract(\"{inside.column}\", '$.{inside.name}')"
            rows = connection.execute(
                f'SELECT "{inside.id}", {found} FROM "{inside.table}" WHERE {inside.where} AND {found} IS NOT NULL'
            ).fetchall()
            for id_, sealed in rows:
                moved = _moved(old, new, str(sealed), sealed_as(inside.table, id_))
                changed = f"json_set(\"{inside.column}\", '$.{inside.name}', ?)"
                connection.execute(
                    f'UPDATE "{inside.table}" SET "{inside.column}" = {changed} WHERE "{inside.id}" = ?', (moved, id_)
                )
                count += 1
        connection.execute("COMMIT")
        step("sealed")
    finally:
        connection.close()
    connection = _connect(copy, new.key("database"))
    try:
        found = connection.execute("PRAGMA cipher_integrity_check").fetchall()
        found += [row for row in connection.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
    finally:
        connection.close()
    if found:
        raise VaultError("the copy under the new key is not whole; the old key still counts")
    return count


async def _postgresql(database: Database, old: Vault, new: Vault, secret: bytes, step: Step) -> int:
    from sqlalchemy import select, text, update

    from portico.storage.tables import METADATA, SEALED, SEALED_INSIDE, sealed_as

    await binding.open_database(old, database)
    save(old.data_dir, slots.announce(old.header, "", secret, new.master))
    step("announced")
    count = 0
    try:
        async with database.write() as session:
            for each in SEALED:
                table = METADATA.tables[each.table]
                id_column, column = table.c[each.id], table.c[each.column]
                for id_, sealed in (await session.execute(select(id_column, column).with_for_update())).all():
                    row = sealed_as(each.table, id_)
                    value = new.seal(old.unseal(sealed, row), row)
                    await session.execute(update(table).where(id_column == id_).values({column: value}))
                    count += 1
            for inside in SEALED_INSIDE:
                found = f"{inside.column} ->> '{inside.name}'"
                wanted = f"SELECT {inside.id}, {found} FROM {inside.table} WHERE {inside.where} AND {found} IS NOT NULL"
                changed = f"jsonb_set({inside.column}, '{{{inside.name}}}', to_jsonb(CAST(:moved AS text)))"
                statement = text(f"UPDATE {inside.table} SET {inside.column} = {changed} WHERE {inside.id} = :id")
                for id_, sealed in (await session.execute(text(f"{wanted} FOR UPDATE"))).all():
                    moved = _moved(old, new, str(sealed), sealed_as(inside.table, id_))
                    await session.execute(statement, {"moved": moved, "id": id_})
                    count += 1
            await binding.own(session, new.fingerprint)
            step("sealed")
        step("replaced")
    except VaultError:  # before the end of the transaction; after any other error nobody knows whether it was committed
        save(old.data_dir, old.header)
        raise
    finally:
        await database.close()
    return count


def _moved(old: Vault, new: Vault, sealed: str, row: str) -> str:
    """A sealed value in base64, sealed anew."""
    return base64.b64encode(new.seal(old.unseal(base64.b64decode(sealed), row), row)).decode()


def _connect(path: Path, key: bytes) -> Any:
    from portico.storage import sqlite

    return sqlite.connector(path, key)()


def _need_room(path: Path) -> None:
    """A copy, and its journal while it is encrypted anew."""
    wanted = 2 * path.stat().st_size
    if shutil.disk_usage(path.parent).free < wanted:
        raise StorageUnavailable(f"changing the master key needs {wanted / 1_048_576:.0f} MiB of free disk")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _said(error: Exception) -> Exception:
    from portico.storage import failures

    if isinstance(error, OSError):
        return StorageUnavailable(f"the copy of the database can't be written: {error.strerror}; the old key counts")
    return failures.translate(error) or VaultError("the database can't be copied; the old key still counts")
