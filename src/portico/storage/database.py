"""The database: one encrypted SQLite file, or PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from portico.errors import StorageError, StorageUnavailable
from portico.storage import changes, failures, migrations
from portico.storage.audit import trail
from portico.storage.tables.base import forget_compiled
from portico.storage.tracing import observe
from portico.telemetry import tracing

if TYPE_CHECKING:
    from portico.storage.driver import Connector

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
PARTING: Final = 10.0  # seconds for sessions to end before their connections are closed
WRITER: Final = 15.0  # seconds to wait for one's turn to write among the tasks of this process


class Database:
    """Sessions on the database. Don't open one inside another: the inner may wait for the outer's connection.

    `url` is `sqlite:///FILE` (inside `data_dir` when relative; `key`, 32 bytes, encrypts it) or `postgresql://…`.
    """

    def __init__(self, url: str, data_dir: Path, key: bytes | None) -> None:
        self.url = url
        self.dialect = SQLITE if url.startswith("sqlite:") else POSTGRESQL
        self.path = data_dir / url.removeprefix("sqlite:///") if self.dialect == SQLITE else None  # SQLite's file
        self.trail: trail.Trail | None = None  # given by `open_database`; what must be audited can't be done without
        self._key = key
        self._data_dir = data_dir
        self._turn: asyncio.Lock | None = None  # SQLite has one writer at a time
        self._reader: AsyncEngine | None = None
        self._writer: AsyncEngine | None = None
        self._sessions = 0
        self._unused = asyncio.Event()  # set when the last session ends

    async def open(self) -> None:
        """Connect; StorageError when the schema is not this version's. SQLite's is brought up to date first."""
        await self._connect()
        try:
            if self.path is not None:
                async with self._alone():
                    if await self.schema() != migrations.HEAD:
                        await self._migrate()
            else:
                self._check(await self.schema())
        except BaseException:
            await self.close()
            raise

    async def upgrade(self) -> tuple[str, str]:
        """Bring the schema up to date and answer the versions before and after; leaves the database closed."""
        await self._connect()
        try:
            async with self._alone():
                return await self._migrate()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every connection, after the head of this process's chain was published; may be called twice.

        New sessions are refused at once; those there are have some seconds. A connection that came back to a pool which
        is disposed of already would stay open for good.
        """
        if self.trail is not None:
            await self.trail.publish()
        reader, writer, self._reader, self._writer = self._reader, self._writer, None, None
        self._unused.clear()
        if self._sessions:
            with suppress(TimeoutError):
                async with asyncio.timeout(PARTING):
                    await self._unused.wait()
        for engine in (reader, writer):
            if engine is not None:
                await engine.dispose()
        forget_compiled()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one state of the database and can't change it."""
        engine = self._opened(self._reader)
        with self._in_use():
            async with AsyncSession(engine, expire_on_commit=False) as session:
                with failures.told():
                    await session.connection()
                with failures.told(connecting=False):
                    yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A session in one transaction, committed at the end of the block, rolled back when it raises.

        In SQLite nobody else writes meanwhile: compute first, wait for nothing else inside.
        """
        engine = self._opened(self._writer)
        with self._in_use():
            async with self._my_turn(), AsyncSession(engine, expire_on_commit=False) as session:
                with failures.told():
                    await session.connection()
                with failures.told(connecting=False):
                    yield session
                    await trail.settle(session, self.dialect, self.trail)
                    await changes.settle(session, self.dialect)
                    with tracing.span("COMMIT", tracing.CLIENT, {"db.system.name": self.dialect}):
                        await session.commit()
                    if self.trail is not None:
                        self.trail.committed(session)

    async def ping(self) -> float:
        """Seconds that the database takes to answer."""
        before = time.perf_counter()
        async with self.read() as session:
            await session.execute(text("SELECT 1"))
        return time.perf_counter() - before

    async def schema(self) -> str:
        """The version of the schema; "" when there are no tables yet."""
        async with self.read() as session:
            return await self._version(await session.connection())

    def connector(self) -> Connector:
        """Opens a connection of one's own to the SQLite file, for reading."""
        from portico.storage import sqlite

        assert self.path is not None
        return sqlite.connector(self.path, self._secret(), readonly=True)

    async def _connect(self) -> None:
        if self._writer is not None:
            raise StorageError("the database is open already")
        if self.path is None:
            from portico.storage import postgresql

            self._writer = postgresql.engine(self.url)
            observe(self._writer.sync_engine, self.dialect)
            self._reader = self._writer.execution_options(postgresql_readonly=True)
            return
        from portico.storage import sqlite

        self._turn = asyncio.Lock()
        write = sqlite.connector(self.path, self._secret(), wait=sqlite.TRY)
        async with self._alone():
            with failures.told():
                await asyncio.to_thread(sqlite.prepare, self.path, sqlite.connector(self.path, self._secret()))
        self._writer = sqlite.engine(write, "BEGIN IMMEDIATE", 1)
        self._reader = sqlite.engine(self.connector(), "BEGIN", sqlite.READERS)
        for engine in (self._writer, self._reader):
            observe(engine.sync_engine, self.dialect)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self.path is None:
            yield
            return
        from portico.storage import sqlite

        async with sqlite.locked(self.path.with_name(self.path.name + ".lock")):
            yield

    async def _migrate(self) -> tuple[str, str]:
        with failures.told():
            async with self._opened(self._writer).begin() as connection:
                if self.dialect == POSTGRESQL:
                    from portico.storage.postgresql import UPGRADE_LOCK

                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})"))
                before = await self._version(connection)
                self._check(before, older=True)
                if before != migrations.HEAD:
                    from portico.storage.migrations.run import upgrade

                    await connection.run_sync(upgrade)
        return before, migrations.HEAD

    async def _version(self, connection: AsyncConnection) -> str:
        present = "SELECT count(*) FROM sqlite_master WHERE name = :name"
        if self.dialect == POSTGRESQL:
            present = "SELECT count(to_regclass(:name))"
        if not await connection.scalar(text(present), {"name": migrations.TABLE}):
            return ""
        return str(await connection.scalar(text(f"SELECT version_num FROM {migrations.TABLE}")) or "")

    def _check(self, version: str, *, older: bool = False) -> None:
        if version == migrations.HEAD:
            return
        if version and version not in migrations.KNOWN:
            raise StorageError(
                f"the database was written by a newer Portico (its schema is {version}, this version's is "
                f"{migrations.HEAD}): run that one, or restore an older backup"
            )
        if not older:
            state = f"is older ({version}, and must be {migrations.HEAD})" if version else "is not there yet"
            raise StorageError(f"the database's schema {state}: run `portico db upgrade`")

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1
            if not self._sessions:
                self._unused.set()

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        if self._turn is None:
            yield
            return
        try:
            async with asyncio.timeout(WRITER):
                await self._turn.acquire()
        except TimeoutError:
            raise StorageUnavailable("the database is busy: too much waits to be written") from None
        try:
            yield
        finally:
            self._turn.release()

    def _secret(self) -> bytes:
        if self._key is None or len(self._key) != 32:
            raise StorageError("an SQLite database needs a key of 32 bytes")
        return self._key

    def _opened(self, engine: AsyncEngine | None) -> AsyncEngine:
        if engine is None:
            raise StorageUnavailable("the database is not open")
        return engine
