"""Refusals, of the edge and of the services: a record each while they are few, and a count by code when they are many.

So nobody fills the disk by being refused: at most RECORDS of them a minute get a record of their own, whichever process
writes them; the rest are added up, and become one record for each code when their minute is over.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.audit.events import REFUSED, Origin, clipped, note, pending
from portico.storage.tables import AuditRefusalRow, AuditRow

ACTION: Final = "request.refused"
SUMMARY: Final = "request.refusals"
RECORDS: Final = 60  # a minute
CODES: Final = 50  # a minute that are counted each by itself
OTHERS: Final = "(others)"


async def take(session: AsyncSession, records: list[dict[str, Any]]) -> None:
    """Take in records `{"kind": "refused", "at": epoch, "rows": [row, …]}` in the transaction of `session`.

    A row is [code, client network, route, count, request id of one of them, its path]; where a caller was known also
    kind, id, tenant; and of a stranger the id of the person whom they claimed to be. Finished minutes that were only
    counted are written on the way.
    """
    minute = int(time.time() // 60)
    await finish(session, minute)
    left = RECORDS - await _spent(session, minute)
    counted: dict[str, int] = {}
    for record in records:
        for row in record["rows"]:
            if left > 0:
                left -= 1
                _note(session, row, float(record["at"]))
            else:
                code = clipped(str(row[0]), 64)
                counted[code] = counted.get(code, 0) + int(row[3])
    await _count(session, minute, counted)


async def finish(session: AsyncSession, minute: int | None = None) -> None:
    """Turn the counts of minutes before `minute` (of now, when left out) into records."""
    over = AuditRefusalRow.minute < (int(time.time() // 60) if minute is None else minute)
    rows = (await session.execute(delete(AuditRefusalRow).where(over).returning(*_COLUMNS))).all()
    for at, code, count in sorted(rows):
        began = datetime.fromtimestamp(at * 60, UTC).isoformat().replace("+00:00", "Z")
        detail = {"count": count, "minute": began}
        note(session, SUMMARY, ("code", code), detail=detail, result=REFUSED, code=code, origin=Origin())


def _note(session: AsyncSession, row: list[Any], at: float) -> None:
    code, network, route, count, request_id, path, *known = row
    kind, id_, tenant = known[:3] or ("anonymous", "", "")
    detail = {"count": int(count), "path": clipped(str(path), 500), "at": at}
    if known[3:]:
        detail["person"] = str(known[3])
    note(
        session,
        ACTION,
        ("route", str(route)),
        tenant=tenant,
        detail=detail,
        origin=Origin(kind, id_, str(network), str(request_id)),
        result=REFUSED,
        code=str(code),
    )


async def _spent(session: AsyncSession, minute: int) -> int:
    began = f"{minute * 60_000:012x}"  # how the ids of this minute begin (RFC 9562 5.7)
    first = f"{began[:8]}-{began[8:]}"
    wanted = select(func.count()).select_from(AuditRow).where(AuditRow.action == ACTION, AuditRow.id >= first)
    return int(await session.scalar(wanted) or 0) + pending(session, ACTION)


async def _count(session: AsyncSession, minute: int, counted: dict[str, int]) -> None:
    known = set((await session.scalars(select(AuditRefusalRow.code).where(AuditRefusalRow.minute == minute))).all())
    bounded: dict[str, int] = {}
    for code, count in sorted(counted.items()):
        if code not in known and len(known) >= CODES:
            code = OTHERS
        known.add(code)
        bounded[code] = bounded.get(code, 0) + count
    for code, count in bounded.items():
        await session.execute(_added(session.get_bind().dialect.name, minute, code, count))


def _added(dialect: str, minute: int, code: str, count: int) -> Any:
    """Another process may count the same at this moment."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement: Any = insert(AuditRefusalRow).values(minute=minute, code=code, count=count)
    more = AuditRefusalRow.count + count
    return statement.on_conflict_do_update(index_elements=["minute", "code"], set_={"count": more})


_COLUMNS: Final = (AuditRefusalRow.minute, AuditRefusalRow.code, AuditRefusalRow.count)
