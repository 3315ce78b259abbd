"""Rows of every table as a stream of encrypted batches: how a database of either kind is written down, and filled.

Each batch is JSON, `[table, {column: kind}, [row, …]]`, compressed and sealed with AES-256-GCM under a key of this
backup's own; its number is the nonce, and the last batch says that it is. What a column holds is told by its kind, so
that a backup of an older schema can be read without its tables.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Column, LargeBinary, MetaData, Table, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.types import JSON

from portico.errors import BackupError, StorageError
from portico.storage import migrations
from portico.storage.database import Database
from portico.storage.tables import METADATA
from portico.storage.tables.base import Json, Time

BATCH: Final = 500  # rows
LENGTH: Final = struct.Struct(">I")
LARGEST: Final = 256 * 1024 * 1024  # bytes of one batch
BYTES: Final = "bytes"
TIME: Final = "time"
JSON_: Final = "json"
PLAIN: Final = "plain"


Last = Callable[[AsyncConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of one table; `kinds` has its columns in the order of the values."""

    table: str
    kinds: dict[str, str]
    rows: list[list[Any]]


@asynccontextmanager
async def one_moment(database: Database) -> AsyncIterator[AsyncSession]:
    """A session for reading to which nothing changes from its first query on, whatever others write."""
    async with database.read() as session:
        if database.path is None:  # SQLite's are so by themselves
            await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        yield session


async def dump(session: AsyncSession) -> AsyncIterator[Batch]:
    """Every row of every table, as of one moment if the session's transaction sees one; parents before children."""
    for table in METADATA.sorted_tables:
        kinds = {column.name: _kind(column) for column in table.columns}
        found = await session.stream(select(table).order_by(*table.primary_key.columns))
        async for part in found.partitions(BATCH):
            yield Batch(table.name, kinds, [list(row) for row in part])


async def fill(
    engine: AsyncEngine, batches: AsyncIterator[Batch], schema: str, last: Last | None = None
) -> dict[str, int]:
    """Make the tables of `schema` in an empty database, put the rows in, and bring it up to date: one transaction.

    `last` is done before it is committed. The rows of each table; BackupError when there is a row already.
    """
    counts: dict[str, int] = {}
    async with engine.begin() as connection:
        await _prepare(connection, schema)
        tables: dict[str, Table] = {}
        async for batch in batches:
            table = tables.setdefault(batch.table, _table(batch))
            values = [dict(zip(batch.kinds, row, strict=True)) for row in batch.rows]
            await connection.execute(table.insert(), values)
            counts[batch.table] = counts.get(batch.table, 0) + len(values)
        if engine.dialect.name == "postgresql":
            await _set_sequences(connection)
        await connection.run_sync(_upgrade)
        if last is not None:
            await last(connection)
    return counts


async def counts(session: AsyncSession) -> dict[str, int]:
    """How many rows each table has."""
    return {
        table.name: await session.scalar(select(func.count()).select_from(table)) or 0
        for table in METADATA.sorted_tables
    }


def write(stream: BinaryIO, number: int, batch: Batch | None, key: bytes) -> None:
    """Append one sealed batch; None is the end."""
    plain = b"null" if batch is None else json.dumps([batch.table, batch.kinds, _encoded(batch)]).encode()
    sealed = AESGCM(key).encrypt(number.to_bytes(12, "big"), zlib.compress(plain), b"end" if batch is None else b"rows")
    stream.write(LENGTH.pack(len(sealed)) + sealed)


def read(stream: BinaryIO, key: bytes) -> Iterator[Batch]:
    """The batches of a body, from where `stream` stands. BackupError when one is missing, moved or altered."""
    cipher = AESGCM(key)
    number = 0
    while True:
        head = stream.read(LENGTH.size)
        size = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else 0
        sealed = stream.read(size) if size <= LARGEST else b""
        sealed = sealed if len(sealed) == size else b""
        nonce = number.to_bytes(12, "big")
        try:
            yield _decoded(json.loads(zlib.decompress(cipher.decrypt(nonce, sealed, b"rows"))))
        except (InvalidTag, ValueError):
            break
        number += 1
    try:
        cipher.decrypt(nonce, sealed, b"end")
    except (InvalidTag, ValueError):
        raise BackupError("the backup is damaged or was altered: use another one") from None


async def in_turn(batches: Iterator[Batch]) -> AsyncIterator[Batch]:
    """The same batches for whoever wants to await them."""
    for batch in batches:
        yield batch


@asynccontextmanager
async def engine(url: str, data_dir: Path, key: bytes) -> AsyncIterator[AsyncEngine]:
    """An engine of its own on a database that nobody uses yet; for `fill`."""
    if not url.startswith("sqlite:"):
        from portico.storage import postgresql

        made = postgresql.engine(url)
    else:
        from sqlalchemy.dialects import registry

        from portico.storage import sqlite

        registry.register("sqlite.aiosqlcipher", sqlite.__name__, "Dialect")
        path = data_dir / url.removeprefix("sqlite:///")
        made = sqlite.engine(sqlite.connector(path, key), "BEGIN IMMEDIATE", 1)
    try:
        yield made
    finally:
        await made.dispose()


async def _prepare(connection: AsyncConnection, schema: str) -> None:
    if schema not in migrations.KNOWN:
        raise BackupError(f"the backup is of a newer Portico (schema {schema}): restore it with that one")
    present = set(await connection.run_sync(_table_names))
    for name in sorted(present.intersection(METADATA.tables)):
        if await connection.scalar(text(f'SELECT count(*) FROM (SELECT 1 FROM "{name}" LIMIT 1) AS found')):
            raise BackupError("the database is not empty: name an empty one in storage.url")
    if migrations.TABLE in present:
        found = await connection.scalar(text(f"SELECT version_num FROM {migrations.TABLE}"))
        if found != schema:
            raise StorageError(f"the database has tables of another version ({found}): name an empty one")
        return

    def make(sync: Any) -> None:
        from portico.storage.migrations.run import upgrade

        upgrade(sync, schema)

    await connection.run_sync(make)


def _upgrade(connection: Any) -> None:
    from portico.storage.migrations.run import upgrade

    upgrade(connection)


def _table_names(connection: Any) -> Sequence[str]:
    from sqlalchemy import inspect

    names: Sequence[str] = inspect(connection).get_table_names()
    return names


async def _set_sequences(connection: AsyncConnection) -> None:
    """Let numbers that the database gives out go on after those that came with the rows."""
    owned = text(
        "SELECT table_name, column_name, pg_get_serial_sequence(quote_ident(table_name), column_name) "
        "FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND pg_get_serial_sequence(quote_ident(table_name), column_name) IS NOT NULL"
    )
    for table, column, sequence in (await connection.execute(owned)).all():
        highest = f'SELECT setval(\'{sequence}\', (SELECT max("{column}") FROM "{table}"))'
        await connection.execute(text(highest))


def _kind(column: Column[Any]) -> str:
    if isinstance(column.type, Time):
        return TIME
    if isinstance(column.type, LargeBinary):
        return BYTES
    return JSON_ if isinstance(column.type, JSON) else PLAIN


def _table(batch: Batch) -> Table:
    """A table with as much of its types as inserting needs."""
    types: dict[str, Any] = {TIME: Time, BYTES: LargeBinary, JSON_: Json}
    columns = [Column(name, types[kind]) if kind in types else Column(name) for name, kind in batch.kinds.items()]
    return Table(batch.table, MetaData(), *columns)


def _encoded(batch: Batch) -> list[list[Any]]:
    kinds = list(batch.kinds.values())
    return [[_encode(kind, value) for kind, value in zip(kinds, row, strict=True)] for row in batch.rows]


def _encode(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == BYTES:
        return base64.b64encode(value).decode()
    return value.isoformat() if kind == TIME else value


def _decoded(value: Any) -> Batch:
    table, kinds, rows = value
    order = list(kinds.values())
    return Batch(table, kinds, [[_decode(kind, each) for kind, each in zip(order, row, strict=True)] for row in rows])


def _decode(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == BYTES:
        return base64.b64decode(value)
    return datetime.fromisoformat(value) if kind == TIME else value
