"""Who had most: sums of every caller, or every route, over a span of time.

A year of 10,000 callers has 3.65 million days. So their sums are also kept over spans that double, and a span of
time is put together from as few of those as there can be: of a year about a dozen, each with one row a caller.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from sqlalchemy import CompoundSelect, case, func, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.database import Database
from portico.storage.tables import usage
from portico.storage.usage.records import Ranked, Ranking

By = Literal["requests", "errors", "bytes_in", "bytes_out"]

_RANKS = usage.usage_ranks.c


class Ranks:
    """The repository of sums by caller and by route."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def top(
        self,
        kind: str,
        tenant: str | None,
        start: int,
        end: int,
        *,
        by: By = "requests",
        after: tuple[int, int] | None = None,
        limit: int = 10,
    ) -> Ranking:
        """Those of a kind of caller, or of routes (usage.ROUTE), that had most from `start` to `end`, whole hours.

        `after` is what the last of the page before had, and its subject. `tenant` None: those of every tenant.
        """
        blocks = covering(start, end)
        if not blocks:
            return Ranking([], 0)
        each = _rows(kind, {tenant}, blocks, ("subject", by)).subquery()
        had = func.sum(each.c[by]).label("had")
        sums = select(each.c.subject, had, func.count().over().label("subjects")).group_by(each.c.subject).subquery()
        wanted = select(sums).order_by(sums.c.had.desc(), sums.c.subject).limit(limit)
        if after is not None:
            last, subject = after
            wanted = wanted.where(or_(sums.c.had < last, (sums.c.had == last) & (sums.c.subject > subject)))
        async with self._db.read() as session:
            rows = (await session.execute(wanted)).all()
            subjects = [int(row.subject) for row in rows]
            names = await _names(session, kind, subjects)
            theirs = {names[each][2] for each in subjects} if tenant is None and kind != usage.ROUTE else {tenant}
            details = await _details(session, kind, theirs, blocks, subjects)
        items = [Ranked(each, *names[each], *details[each]) for each in subjects]
        return Ranking(items, int(rows[0].subjects) if rows else 0)


def covering(start: int, end: int) -> list[tuple[int, int]]:
    """The fewest spans of usage.SPANS, (length, beginning), that together are the time from `start` to `end`."""
    blocks = []
    while start < end:
        span = next(each for each in reversed(usage.SPANS) if start % each == 0 and start + each <= end)
        blocks.append((span, start))
        start += span
    return blocks


def _rows(
    kind: str,
    tenants: Collection[str | None],
    blocks: list[tuple[int, int]],
    columns: Sequence[str],
    subjects: Sequence[int] = (),
) -> CompoundSelect[Any]:
    """The rows that make up the time of `blocks`; of every tenant with {None}; of `subjects` only, if there are any."""
    begins: dict[int, list[int]] = {}
    for span, at in blocks:
        begins.setdefault(span, []).append(at)
    parts = []
    for span, ats in begins.items():
        # Each beginning is named: with the tenant behind it, a row is found by the table's key.
        part = select(*(_RANKS[name] for name in columns)).where(
            _RANKS.kind == kind, _RANKS.span == span, _RANKS.at.in_(ats)
        )
        if None not in tenants:
            part = part.where(_RANKS.tenant_id.in_(tenants))
        parts.append(part.where(_RANKS.subject.in_(subjects)) if subjects else part)
    return union_all(*parts)


async def _details(
    session: AsyncSession,
    kind: str,
    tenants: Collection[str | None],
    blocks: list[tuple[int, int]],
    subjects: list[int],
) -> dict[int, list[int]]:
    if not subjects:
        return {}
    each = _rows(kind, tenants, blocks, ("subject", *usage.RANKED), subjects).subquery()
    wanted = select(each.c.subject, *(func.sum(each.c[name]) for name in usage.RANKED)).group_by(each.c.subject)
    return {int(row[0]): [int(value) for value in row[1:]] for row in (await session.execute(wanted)).all()}


async def _names(session: AsyncSession, kind: str, subjects: list[int]) -> dict[int, tuple[str, str, str]]:
    """Name, kind (a route's method) and tenant of each."""
    if kind == usage.ROUTE:
        routes = usage.usage_routes.c
        wanted = select(routes.id, routes.route, routes.method, literal("")).where(routes.id.in_(subjects))
    else:
        callers = usage.usage_callers.c
        name = case((callers.key_id != "", callers.key_id), else_=callers.principal)
        wanted = select(callers.id, name, callers.kind, callers.tenant_id).where(callers.id.in_(subjects))
    return {row[0]: (row[1], row[2], row[3]) for row in (await session.execute(wanted)).all()}
