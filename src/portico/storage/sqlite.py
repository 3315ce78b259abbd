"""SQLite, encrypted by SQLCipher: how a connection is opened, and what is done once before the first.

Pages are encrypted with AES-256-CBC and authenticated with HMAC-SHA512. The key is raw, so that opening derives none.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlcipher3 import dbapi2  # type: ignore[import-untyped]

from portico.errors import StorageError
from portico.storage import driver
from portico.storage.driver import Connector

BUSY: Final = 15.0  # seconds that a connection waits while another process writes
TRY: Final = 0.05  # seconds of one try to begin writing: SQLite asks less and less often, so a long one may never win
PATIENCE: Final = 30.0  # seconds for another process to migrate
POLL: Final = 0.02
READERS: Final = 4
LOCKED: Final = "is locked"
WAL_KEPT: Final = 64 * 1024 * 1024  # bytes to which the WAL is cut back after it was larger


def connector(path: Path, key: bytes, *, readonly: bool = False, wait: float = BUSY) -> Connector:
    """A function that opens one connection; it blocks for about a millisecond.

    Statements wait `wait` seconds for another process that writes.
    """

    def connect() -> Any:
        connection = dbapi2.connect(str(path), timeout=wait, isolation_level=None, cached_statements=256)
        try:
            for pragma in _pragmas(key, readonly):
                connection.execute(pragma).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    return connect


def _pragmas(key: bytes, readonly: bool) -> tuple[str, ...]:
    return (
        "PRAGMA cipher_log_level = NONE",  # it would write to the terminal
        f"PRAGMA key = \"x'{key.hex()}'\"",
        "PRAGMA synchronous = FULL",  # what is acknowledged is on the disk
        "PRAGMA foreign_keys = ON",
        "PRAGMA temp_store = MEMORY",  # nothing in clear in temporary files
        "PRAGMA cache_size = -4096",
        f"PRAGMA journal_size_limit = {WAL_KEPT}",
        f"PRAGMA query_only = {'ON' if readonly else 'OFF'}",
    )


def engine(connect: Connector, begin: str, size: int) -> AsyncEngine:
    """Connections of `connect`, at most `size`, whose transactions open with the statement `begin`."""
    registry.register(driver.NAME, driver.__name__, "Dialect")
    made = create_async_engine(
        URL.create("sqlite+aiosqlcipher", database="portico"),
        connect_args={"connector": connect},
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=BUSY,
    )

    def started(connection: Connection) -> None:
        until = time.monotonic() + BUSY
        while True:
            try:
                connection.exec_driver_sql(begin)
            except OperationalError as error:
                if LOCKED not in str(error.orig) or time.monotonic() >= until:
                    raise
            else:
                return

    event.listen(made.sync_engine, "begin", started)
    return made


def prepare(path: Path, connect: Connector) -> None:
    """Make the file if there is none, with mode 0600, and turn its WAL on; StorageError when the key is another's."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StorageError(f"{path} can't be opened: {error.strerror}") from error
    os.close(descriptor)
    connection = connect()
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # with a wrong key this fails
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
    finally:
        connection.close()


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the lock file `path` alone, so that of processes which start together one prepares and migrates."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StorageError(f"{path} can't be opened: {error.strerror}") from error
    deadline = time.monotonic() + PATIENCE
    try:
        while not _try(descriptor):
            if time.monotonic() > deadline:
                raise StorageError("another process has been preparing the database for too long")
            await asyncio.sleep(POLL)
        yield
    finally:
        os.close(descriptor)  # releases it


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
