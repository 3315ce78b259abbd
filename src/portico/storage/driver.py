"""SQLCipher as a driver of SQLAlchemy's: a statement and all its rows are one call in the connection's thread.

aiosqlite makes four calls of that (a cursor, the statement, the rows, the end of the cursor), each of which waits for a
turn of the event loop: under load, most of what a transaction takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
    SQLiteDialect_aiosqlite,
)
from sqlcipher3 import dbapi2  # type: ignore[import-untyped]

NAME: Final = "sqlite.aiosqlcipher"  # in SQLAlchemy's registry of dialects
CHUNK: Final = 64  # rows that aiosqlite takes at a time, where they are streamed

Connector = Callable[[], Any]


class Cursor:
    """One statement at a time. Its attributes are those of PEP 249, as they are after the statement."""

    arraysize = 1

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Cursor:
        return self

    async def execute(self, operation: str, parameters: Any = ()) -> Cursor:
        """Run a statement, and take its rows."""
        await self._call("execute", operation, parameters)
        return self

    async def executemany(self, operation: str, parameters: Sequence[Any]) -> Cursor:
        """Run a statement without rows once for each of the parameters."""
        await self._call("executemany", operation, parameters)
        return self

    async def fetchall(self) -> list[Any]:
        """The rows that were not fetched yet."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Nothing is open."""
        self._rows = []

    async def _call(self, how: str, operation: str, parameters: Any) -> None:
        await self._connection._execute(self._run, how, operation, parameters)  # type: ignore[no-untyped-call]

    def _run(self, how: str, operation: str, parameters: Any) -> None:
        """In the connection's thread."""
        cursor = self._connection._conn.cursor()
        try:
            getattr(cursor, how)(operation, parameters)
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else []
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()


class _AdaptedCursor(AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()

    def _make_new_cursor(self, connection: Any) -> Any:
        return Cursor(connection)


class _AdaptedConnection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()
    _cursor_cls = _AdaptedCursor


class _Adapted(AsyncAdapt_aiosqlite_dbapi):
    def connect(self, *args: Any, **kwargs: Any) -> AsyncAdapt_aiosqlite_connection:
        return _AdaptedConnection(self, super().connect(*args, **kwargs)._connection)


class _Driver:
    """What SQLAlchemy's adapter looks for in the module aiosqlite, with SQLCipher's errors beneath."""

    DatabaseError = dbapi2.DatabaseError
    Error = dbapi2.Error
    IntegrityError = dbapi2.IntegrityError
    NotSupportedError = dbapi2.NotSupportedError
    OperationalError = dbapi2.OperationalError
    ProgrammingError = dbapi2.ProgrammingError
    sqlite_version = dbapi2.sqlite_version
    sqlite_version_info = dbapi2.sqlite_version_info
    Connection = aiosqlite.Connection

    @staticmethod
    def connect(*_: Any, connector: Connector, **__: Any) -> aiosqlite.Connection:
        """A connection, made by `connector` in its own thread when it is awaited; it knows the file and the options."""
        return aiosqlite.Connection(connector, CHUNK)


class Dialect(SQLiteDialect_aiosqlite):
    """`sqlite+aiosqlcipher`: SQLAlchemy's own dialect on another driver."""

    driver = "aiosqlcipher"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver."""
        return _Adapted(_Driver, dbapi2)  # type: ignore[arg-type]
