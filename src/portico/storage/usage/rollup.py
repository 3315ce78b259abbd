"""Usage is taken in: what an edge has counted is added to every level and to both tables of sums at once.

So there is no later step that could be missed or done twice: a minute that comes a day late lands where it would have
landed in time, and whoever calls `take` and notes what was taken in the same transaction has counted it exactly once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.tables import usage

RECENT: Final = 10_000  # requests that are kept in detail
CHUNK: Final = 500  # names looked up at a time

Key = tuple[Any, ...]
Sums = dict[Key, list[int]]


@dataclass(slots=True)
class _Counted:
    """What one row says: who, where and when it was, and the values of usage.COUNTED."""

    caller: tuple[str, str, str, str]  # tenant, kind, key id, principal
    route: tuple[str, str]  # route, method
    status: int
    minute: int
    values: list[int]


async def take(session: AsyncSession, records: list[dict[str, Any]]) -> None:
    """Add records of kind "usage" to what has been counted; nothing is committed.

    Rows: [minute (seconds since 1970), key id, principal, kind, tenant, route, method, status, requests, bytes in,
    bytes out, [14 bucket counts], seconds]. The key id is "" where the caller has none.
    """
    counted = [_read(row) for record in records for row in record["rows"]]
    callers = await ids(
        session, usage.usage_callers, (each.caller for each in counted), ("tenant_id", "kind", "key_id", "principal")
    )
    routes = await ids(session, usage.usage_routes, (each.route for each in counted), ("route", "method"))
    for span, table in usage.LEVELS.items():
        sums = _by(
            counted,
            lambda each, span=span: (callers[each.caller], floor(each.minute, span), routes[each.route], each.status),
        )
        await add(session, table, usage.COUNTED, sums)
    await add(session, usage.usage_totals, usage.COUNTED, _totals(counted))
    await add(session, usage.usage_ranks, usage.RANKED, _ranks(counted, callers, routes))


async def take_recent(session: AsyncSession, records: list[dict[str, Any]], keep: int = RECENT) -> None:
    """Add records of kind "recent" to the requests in detail, of which the newest `keep` stay; nothing is committed.

    Rows: [seconds since 1970, request id, key id, principal, kind, tenant, route, method, path, status, code,
    milliseconds, bytes in, bytes out, client].
    """
    rows = [_recent(row) for record in records for row in record["rows"]][-keep:]
    if not rows:
        return
    ring = usage.requests_recent
    await session.execute(ring.insert(), rows)
    last = await session.scalar(select(func.max(ring.c.number)))
    await session.execute(delete(ring).where(ring.c.number <= (last or 0) - keep))


def _read(row: Sequence[Any]) -> _Counted:
    minute, key, principal, kind, tenant, route, method, status, requests, bytes_in, bytes_out, buckets, seconds = row
    return _Counted(
        (text(tenant, 64), text(kind, 16), text(key, 255), text(principal, 1024)),
        (text(route, 255), text(method, 32)),
        status,
        floor(minute, usage.MINUTE),
        [requests, bytes_in, bytes_out, round(seconds * 1_000_000), *buckets],
    )


def _totals(counted: list[_Counted]) -> Sums:
    sums: Sums = {}
    for span in usage.LEVELS:
        for each in counted:
            at = floor(each.minute, span)
            for tenant in {each.caller[0], usage.EVERYONE}:  # nobody's own requests belong to no tenant
                plus(sums, (span, tenant, at, each.status), each.values)
    return sums


def _ranks(counted: list[_Counted], callers: dict[Any, int], routes: dict[Any, int]) -> Sums:
    hours: Sums = {}
    for each in counted:
        tenant, kind = each.caller[:2]
        requests, bytes_in, bytes_out, micros = each.values[:4]
        values = [requests, requests if each.status >= 400 else 0, bytes_in, bytes_out, micros]
        at = floor(each.minute, usage.HOUR)
        plus(hours, (kind, at, tenant, callers[each.caller]), values)
        plus(hours, (usage.ROUTE, at, tenant, routes[each.route]), values)
    sums: Sums = {}
    for span in usage.SPANS:
        for (kind, at, tenant, subject), values in hours.items():
            plus(sums, (kind, span, floor(at, span), tenant, subject), values)
    return sums


def _by(counted: list[_Counted], key: Any) -> Sums:
    sums: Sums = {}
    for each in counted:
        plus(sums, key(each), each.values)
    return sums


def plus(sums: Sums, key: Key, values: list[int]) -> None:
    """Add `values` to those of the key."""
    there = sums.get(key)
    if there is None:
        sums[key] = values.copy()
        return
    for index, value in enumerate(values):
        there[index] += value


def floor(moment: int, span: int) -> int:
    """The beginning of the span that a moment is in."""
    return moment - moment % span


async def add(session: AsyncSession, table: Table, columns: Sequence[str], sums: Sums) -> None:
    """Add `sums` to the rows with their keys, which are made where there are none."""
    if not sums:
        return
    keys = [column.name for column in table.primary_key.columns]
    names = (*keys, *columns)
    # In one order, so that two processes that add at once never wait for each other in a circle.
    rows = [dict(zip(names, (*key, *sums[key]), strict=True)) for key in sorted(sums)]
    await session.execute(_adding(session.get_bind().dialect.name, table, tuple(columns)), rows)


@cache
def _adding(dialect: str, table: Table, columns: tuple[str, ...]) -> Any:
    """Made once for each table: making it takes longer than the database takes for a few rows."""
    insert = _insert(dialect, table)
    sums = {name: table.c[name] + insert.excluded[name] for name in columns}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums)


async def ids(session: AsyncSession, table: Table, wanted: Iterable[Key], columns: Sequence[str]) -> dict[Any, int]:
    """The ids of the rows of a table of names, made where there are none."""
    names = {sha256(json.dumps(each).encode()).digest(): each for each in wanted}
    found = await _known(session, table, list(names))
    missing = sorted(names.keys() - found.keys())
    if missing:
        rows = [{**dict(zip(columns, names[each], strict=True)), "sha256": each} for each in missing]
        await session.execute(_insert(session.get_bind().dialect.name, table).on_conflict_do_nothing(), rows)
        found |= await _known(session, table, missing)
    return {names[digest]: number for digest, number in found.items()}


async def _known(session: AsyncSession, table: Table, digests: list[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for first in range(0, len(digests), CHUNK):
        wanted = select(table.c.sha256, table.c.id).where(table.c.sha256.in_(digests[first : first + CHUNK]))
        found.update((bytes(digest), number) for digest, number in await session.execute(wanted))
    return found


def _insert(dialect: str, table: Table) -> Any:
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)


def _recent(row: Sequence[Any]) -> dict[str, Any]:
    at, request, key, principal, kind, tenant, route, method, path, status, code, ms, bytes_in, bytes_out, client = row
    return {
        "at": round(at * 1_000_000),
        "request_id": text(request, 128),
        "tenant_id": text(tenant, 64),
        "kind": text(kind, 16),
        "key_id": text(key, 255),
        "principal": text(principal, 1024),
        "route": text(route, 255),
        "method": text(method, 32),
        "path": text(path, 2048),
        "status": status,
        "code": text(code, 64),
        "micros": round(ms * 1000),
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "client": text(client, 64),
    }


def text(value: str, most: int) -> str:
    """What both databases take: a subject of someone else's token may be of any length, and hold anything."""
    kept = value[:most].replace("\0", "?")
    return kept if kept.isascii() else kept.encode("utf-8", "replace").decode()
