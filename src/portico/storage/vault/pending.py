"""A change of the master key that was broken off: which of the two keys counts is read off the database.

The database is encrypted anew in a copy, which then takes its place by one rename. So at any moment the file is wholly
under the old key or wholly under the new one.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Final

from portico.errors import VaultError
from portico.storage.vault import crypto, header, slots
from portico.storage.vault.header import Header

COPY: Final = ".rekey"  # appended to the name of the database
BESIDE: Final = ("", "-journal", "-wal", "-shm")


def settle(data_dir: Path, head: Header, secret: bytes, master: bytes) -> tuple[Header, bytes]:
    """The header without its `next`, and the master key that counts; the caller saves it and holds the lock.

    VaultError when the database is PostgreSQL, whose state can't be seen from here, or opens with neither key.
    """
    assert head.next is not None
    if not head.next.database:
        raise VaultError("a change of the master key was broken off: `portico vault rekey` finishes it")
    following = slots.next_of(data_dir, head, secret)
    path = data_dir / head.next.database
    if opens(path, crypto.derive(following, "database")):
        return finished(head, secret, following), following
    if opens(path, crypto.derive(master, "database")):
        remove_copy(path)
        return replace(head, next=None), master
    raise VaultError(f"a change of the master key was broken off, and {path} opens with neither key: restore a backup")


def finished(head: Header, secret: bytes, master: bytes) -> Header:
    """The header once `master` has taken over. A recovery key was for the old one, and is gone."""
    bare = replace(head, next=None, slots=())
    return replace(bare, slots=(slots.fill(bare, slots.make_slot(head.main.kind, header.now()), secret, master),))


def opens(path: Path, key: bytes) -> bool:
    """Whether `path` is a database that `key` opens."""
    from sqlcipher3 import dbapi2  # type: ignore[import-untyped]

    if not path.is_file():
        return False
    connection = dbapi2.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    try:
        connection.execute("PRAGMA cipher_log_level = none")
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except dbapi2.DatabaseError:
        return False
    finally:
        connection.close()
    return True


def remove_copy(path: Path) -> None:
    """What a broken-off change left beside the database."""
    for end in BESIDE:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + COPY + end).unlink()
