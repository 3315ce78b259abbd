"""What texts were judged to be: added up by caller and by tenant, for each minute, hour and day, and asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.database import Database
from portico.storage.tables import usage
from portico.storage.usage import rollup
from portico.storage.usage.records import Verdicts


@dataclass(frozen=True, slots=True)
class Counted:
    """Texts of one caller in one minute (seconds since 1970) that one engine found malicious, or not.

    `confidence` is their sum in millionths. `key_id` is "" where the caller is no key. `guarded`: how many of them are
    messages that guards have judged.
    """

    minute: int
    tenant: str
    kind: str
    key_id: str
    principal: str
    engine: str
    malicious: bool
    texts: int
    confidence: int
    degraded: int
    cached: int
    guarded: int = 0


async def take(session: AsyncSession, records: list[dict[str, Any]]) -> None:
    """Add records of kind "judged", which guards have made; nothing is committed.

    Rows: [minute (seconds since 1970), key id, principal, kind, tenant, engine, malicious (0 or 1), messages,
    confidence (their sum, in millionths), degraded, cached].
    """
    await add(session, [_read(row) for record in records for row in record["rows"]])


async def add(session: AsyncSession, counted: Sequence[Counted]) -> None:
    """Add to what has been counted; nothing is committed."""
    callers = await rollup.ids(
        session, usage.usage_callers, map(_caller, counted), ("tenant_id", "kind", "key_id", "principal")
    )
    own: rollup.Sums = {}
    totals: rollup.Sums = {}
    for each in counted:
        values = [each.texts, each.confidence, each.degraded, each.cached, each.guarded]
        what = (rollup.text(each.engine, 64), int(each.malicious))
        caller = _caller(each)
        for span in usage.LEVELS:
            at = rollup.floor(each.minute, span)
            rollup.plus(own, (callers[caller], span, at, *what), values)
            for tenant in {caller[0], usage.EVERYONE}:
                rollup.plus(totals, (span, tenant, at, *what), values)
    await rollup.add(session, usage.usage_verdicts, usage.VERDICTS, own)
    await rollup.add(session, usage.usage_verdict_totals, usage.VERDICTS, totals)


def _read(row: Sequence[Any]) -> Counted:
    minute, key, principal, kind, tenant, engine, malicious, messages, confidence, degraded, cached = row
    return Counted(
        minute, tenant, kind, key, principal, engine, bool(malicious), messages, confidence, degraded, cached, messages
    )


def _caller(each: Counted) -> tuple[str, str, str, str]:
    """As requests of the same caller are counted."""
    return (
        rollup.text(each.tenant, 64), rollup.text(each.kind, 16), rollup.text(each.key_id, 255),
        rollup.text(each.principal, 1024),
    )  # fmt: skip


class Judgements:
    """Questions about them. Times are seconds since 1970; a span of time has its `start` and not its `end`.

    `span` is MINUTE, HOUR or DAY. What is asked by time leaves out the spans without any.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    async def series(self, callers: Collection[int], span: int, start: int, end: int) -> dict[int, Verdicts]:
        """Of callers, by the beginning of each span."""
        table = usage.usage_verdicts
        return await self._sums(table, table.c.at, _of(callers, span, start, end)) if callers else {}

    async def engines(self, callers: Collection[int], span: int, start: int, end: int) -> dict[str, Verdicts]:
        """Of callers, by the engine that judged."""
        table = usage.usage_verdicts
        return await self._sums(table, table.c.engine, _of(callers, span, start, end)) if callers else {}

    async def totals(self, tenant: str | None, span: int, start: int, end: int) -> dict[int, Verdicts]:
        """Of all callers of a tenant, or of every tenant, by the beginning of each span."""
        table = usage.usage_verdict_totals
        return await self._sums(table, table.c.at, _of_all(tenant, span, start, end))

    async def total_engines(self, tenant: str | None, span: int, start: int, end: int) -> dict[str, Verdicts]:
        """The same by the engine that judged."""
        table = usage.usage_verdict_totals
        return await self._sums(table, table.c.engine, _of_all(tenant, span, start, end))

    async def _sums(
        self, table: Table, by: ColumnElement[Any], within: Iterable[ColumnElement[bool]]
    ) -> dict[Any, Verdicts]:
        c = table.c
        columns = [
            func.sum(c.texts),
            func.sum(case((c.malicious == 1, c.texts), else_=0)),
            func.sum(c.confidence),
            func.sum(c.degraded),
            func.sum(c.cached),
            func.sum(c.guarded),
            func.sum(case((c.malicious == 1, c.guarded), else_=0)),
        ]
        async with self._db.read() as session:
            rows = (await session.execute(select(by, *columns).where(*within).group_by(by).order_by(by))).all()
        return {row[0]: _verdicts(row) for row in rows}


def _verdicts(row: Row[Any]) -> Verdicts:
    return Verdicts(*map(int, row[1:]))  # from decimals


def _of(callers: Collection[int], span: int, start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    c = usage.usage_verdicts.c
    return c.caller.in_(callers), c.span == span, c.at >= start, c.at < end


def _of_all(tenant: str | None, span: int, start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    c = usage.usage_verdict_totals.c
    whose = usage.EVERYONE if tenant is None else tenant
    return c.span == span, c.tenant_id == whose, c.at >= start, c.at < end
