"""Notices that the database was changed, by whichever process.

SQLite: `PRAGMA data_version` differs after a commit by another connection; asking costs microseconds. PostgreSQL:
LISTEN on a connection of its own, and the highest number each half second, since a notification can be lost with its
connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import aiosqlite

from portico.errors import StorageError
from portico.storage import failures
from portico.telemetry import logs

if TYPE_CHECKING:
    from portico.storage.database import Database

SQLITE_POLL: Final = 0.1  # seconds
POSTGRESQL_POLL: Final = 0.5
AGAIN: Final = 0.25  # seconds between attempts to connect

OnChange = Callable[[], None]


async def watch(db: Database, on_change: OnChange) -> None:
    """Runs until it is cancelled."""
    if db.path is not None:
        await _for_ever(lambda: _sqlite(db, on_change))
        return
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_for_ever(lambda: _listen(db, on_change)))
        tasks.create_task(_for_ever(lambda: _poll(db, on_change)))


async def _for_ever(attempt: Callable[[], Any]) -> None:
    """Attempt again and again. Each attempt calls once when it can see changes: some may have been missed before."""
    while True:
        try:
            with failures.told():
                await attempt()
        except StorageError:
            pass  # whoever asks for the changes is told
        except Exception as error:
            logs.get("portico.storage").error("the database can't be watched; tried again", exc_info=error)
        await asyncio.sleep(AGAIN)


async def _sqlite(db: Database, on_change: OnChange) -> None:
    from portico.storage.driver import CHUNK

    connection = aiosqlite.Connection(db.connector(), CHUNK)
    connection._thread.daemon = True  # a process that ends in a hurry does not wait for it
    async with connection:
        seen = None
        while True:
            async with connection.execute("PRAGMA data_version") as cursor:
                row = await cursor.fetchone()
            if row != seen:
                seen = row
                on_change()
            await asyncio.sleep(SQLITE_POLL)


async def _poll(db: Database, on_change: OnChange) -> None:
    from portico.storage.changes import Changes

    changes = Changes(db)
    seen = -1
    while True:
        latest = await changes.latest()
        if latest != seen:
            seen = latest
            on_change()
        await asyncio.sleep(POSTGRESQL_POLL)


async def _listen(db: Database, on_change: OnChange) -> None:
    import asyncpg  # type: ignore[import-untyped]

    from portico.storage.postgresql import CHANNEL, arguments

    connection = await asyncpg.connect(**arguments(db.url))
    try:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(CHANNEL, lambda *_: on_change())
        on_change()
        await lost.wait()
    finally:
        connection.terminate()
