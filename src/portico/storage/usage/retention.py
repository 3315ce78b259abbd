"""What is kept no longer is removed, in pieces: nobody who wants to write waits for more than one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Table, bindparam, delete, select

from portico.storage.database import Database
from portico.storage.tables import usage

PIECE: Final = 1000  # rows that are removed at a time
CALLERS: Final = 500  # that are looked through at a time


class Retention:
    """How long each level is kept, in seconds."""

    def __init__(self, db: Database, minutes: float, hours: float, days: float) -> None:
        self._db = db
        self.kept = {usage.MINUTE: minutes, usage.HOUR: hours, usage.DAY: days}

    def oldest(self, span: int, now: float) -> int:
        """The beginning of the oldest MINUTE, HOUR or DAY that is kept, in seconds since 1970."""
        last = int(now - self.kept[span])
        return last - last % span

    async def prune(self, now: float) -> int:
        """Remove what is older; how many rows that were. Several processes may do so at once."""
        removed = 0
        tenants, kinds = await self._there()
        for span, level in usage.LEVELS.items():
            oldest = self.oldest(span, now)
            # Rows lie in the order of their callers, or tenants: so these are named, and nothing else is read.
            async for callers in self._callers():
                removed += await self._away(level, (level.c.caller.in_(callers), level.c.at < oldest))
                own = usage.usage_verdicts.c
                removed += await self._away(
                    usage.usage_verdicts, (own.caller.in_(callers), own.span == span, own.at < oldest)
                )
            for tenant in tenants:
                for table in (usage.usage_totals, usage.usage_verdict_totals):
                    totals = table.c
                    removed += await self._away(
                        table, (totals.span == span, totals.tenant_id == tenant, totals.at < oldest)
                    )
        for span in usage.SPANS:
            last = self.oldest(usage.HOUR if span < usage.DAY else usage.DAY, now) - span
            for kind in kinds:
                ranks = usage.usage_ranks.c
                removed += await self._away(
                    usage.usage_ranks, (ranks.kind == kind, ranks.span == span, ranks.at <= last)
                )
        return removed

    async def _there(self) -> tuple[set[str], set[str]]:
        """The tenants of totals and the kinds of ranks."""
        callers = usage.usage_callers.c
        async with self._db.read() as session:
            found = (await session.execute(select(callers.tenant_id, callers.kind).distinct())).all()
        return {usage.EVERYONE, *(row.tenant_id for row in found)}, {usage.ROUTE, *(row.kind for row in found)}

    async def _callers(self) -> AsyncIterator[Sequence[int]]:
        numbers = usage.usage_callers.c.id
        last = 0
        while True:
            async with self._db.read() as session:
                wanted = select(numbers).where(numbers > last).order_by(numbers).limit(CALLERS)
                found = (await session.scalars(wanted)).all()
            if not found:
                return
            yield found
            last = found[-1]

    async def _away(self, table: Table, old: Sequence[ColumnElement[bool]]) -> int:
        key = list(table.primary_key.columns)
        one = delete(table).where(*(column == bindparam(f"its_{column.name}") for column in key))
        removed = 0
        while True:
            async with self._db.read() as session:
                doomed = (await session.execute(select(*key).where(*old).limit(PIECE))).all()
            if not doomed:
                return removed
            async with self._db.write() as session:
                await session.execute(
                    one, [{f"its_{name}": row._mapping[name] for name in row._fields} for row in doomed]
                )
            removed += len(doomed)
