"""A year of usage, written by the database itself: what 10,000 keys leave behind, in seconds instead of a year."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.database import Database
from portico.storage.tables import usage
from portico.storage.tables.usage import DAY, HOUR, MINUTE

DAYS: Final = 366
ROUTES: Final = 20
TENANTS: Final = 4
CHUNK: Final = 500  # keys whose rows are written at a time
WINDOW: Final = 64 * DAY  # whose sums are
LATENCIES: Final = {4: "1 + (n + m) % 5", 5: "(n * 31 + m) % 90", 6: "(n + m * 17) % 40", 9: "m % 2"}


async def fill(db: Database, keys: int, end: int) -> None:
    """Days of `keys` keys up to `end` (the beginning of a day), hours of a fiftieth, minutes of a two-hundredth.

    Key n is called `key-n`, is of the tenant `tenant-(n % 4)` and the busier, the higher its number is.
    """
    busy, busiest = max(1, keys // 50), max(1, keys // 200)
    async with db.write() as session:
        await _names(session, keys)
    for span, many, spans in ((DAY, keys, DAYS), (HOUR, busy, 90 * 24), (MINUTE, busiest, 7 * 1440)):
        for first in range(keys - many, keys, CHUNK):
            async with db.write() as session:
                await _level(session, span, first, min(CHUNK, keys - first), end - spans * span, spans)
    for start in range(end - end % WINDOW - (DAYS // 64 + 1) * WINDOW, end, WINDOW):
        for span in usage.LEVELS:
            async with db.write() as session:
                await _totals(session, span, f"at >= {start} AND at < {start + WINDOW}")
        for before, span in zip((0, *usage.SPANS), usage.SPANS, strict=False):
            async with db.write() as session:
                within = f"at >= {start} AND at < {start + WINDOW}"
                await (_ranks(session, span, within) if span in (HOUR, DAY) else _wider(session, before, span, within))
    if db.dialect == "postgresql":
        async with db.write() as session:
            await session.execute(text("ANALYZE"))


async def _names(session: AsyncSession, keys: int) -> None:
    numbers = f"WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {keys})"
    digest = "CAST('key-' || n AS BLOB)" if _sqlite(session) else "convert_to('key-' || n, 'UTF8')"
    await session.execute(
        text(
            "INSERT INTO usage_callers (id, tenant_id, kind, key_id, principal, sha256) "
            f"{numbers} SELECT n, 'tenant-' || (n % {TENANTS}), 'key', 'key-' || n, 'key-' || n, {digest} FROM k"
        )
    )
    routes = f"WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < {ROUTES - 1})"
    digest = digest.replace("key-", "route-")
    await session.execute(
        text(
            "INSERT INTO usage_routes (id, route, method, sha256) "
            f"{routes} SELECT n, 'route-' || n, 'GET', {digest} FROM k"
        )
    )


async def _level(session: AsyncSession, span: int, first: int, many: int, start: int, spans: int) -> None:
    counts = ", ".join(LATENCIES.get(index, "0") for index in range(14))
    requests = " + ".join(f"({each})" for each in LATENCIES.values())
    order = "n, m" if _sqlite(session) else "m, n"  # SQLite puts them in this order anyway; elsewhere as time goes by
    await session.execute(
        text(
            f"INSERT INTO {usage.LEVELS[span].name} (caller, at, route, status, {', '.join(usage.COUNTED)}) "
            f"WITH RECURSIVE k(n) AS (SELECT {first + 1} UNION ALL SELECT n + 1 FROM k WHERE n < {first + many}), "
            f"t(m) AS (SELECT 0 UNION ALL SELECT m + 1 FROM t WHERE m < {spans - 1}) "
            f"SELECT n, {start} + m * {span}, n % {ROUTES}, CASE WHEN (n + m) % 9 = 0 THEN 429 ELSE 200 END, "
            f"{requests}, 100 * n, 3000 + m, 20000 + n, {counts} FROM k, t ORDER BY {order}"
        )
    )


async def _totals(session: AsyncSession, span: int, within: str) -> None:
    sums = ", ".join(f"sum({name})" for name in usage.COUNTED)
    for tenant in ("min(c.tenant_id)", f"'{usage.EVERYONE}'"):
        groups = "c.tenant_id, " if "tenant" in tenant else ""
        await session.execute(
            text(
                f"INSERT INTO usage_totals (span, tenant_id, at, status, {', '.join(usage.COUNTED)}) "
                f"SELECT {span}, {tenant}, l.at, l.status, {sums} FROM {usage.LEVELS[span].name} l "
                f"JOIN usage_callers c ON c.id = l.caller WHERE {within} GROUP BY {groups}l.at, l.status"
            )
        )


async def _ranks(session: AsyncSession, span: int, within: str) -> None:
    level = usage.LEVELS[span].name
    errors = "sum(CASE WHEN l.status >= 400 THEN l.requests ELSE 0 END)"
    for kind, subject in (("key", "l.caller"), (usage.ROUTE, "l.route")):
        await session.execute(
            text(
                f"INSERT INTO usage_ranks (kind, span, at, tenant_id, subject, {', '.join(usage.RANKED)}) "
                f"SELECT '{kind}', {span}, l.at, c.tenant_id, {subject}, sum(l.requests), {errors}, "
                f"sum(l.bytes_in), sum(l.bytes_out), sum(l.micros) FROM {level} l "
                f"JOIN usage_callers c ON c.id = l.caller WHERE {within} GROUP BY l.at, c.tenant_id, {subject}"
            )
        )


async def _wider(session: AsyncSession, before: int, span: int, within: str) -> None:
    sums = ", ".join(f"sum({name})" for name in usage.RANKED)
    await session.execute(
        text(
            f"INSERT INTO usage_ranks (kind, span, at, tenant_id, subject, {', '.join(usage.RANKED)}) "
            f"SELECT kind, {span}, at - at % {span}, tenant_id, subject, {sums} FROM usage_ranks "
            f"WHERE span = {before} AND {within} GROUP BY kind, at - at % {span}, tenant_id, subject"
        )
    )


def _sqlite(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "sqlite"
