"""Questions about usage. Times are seconds since 1970; a span of time has its `start` and not its `end`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Table, case, func, or_, select

from portico.storage.database import Database
from portico.storage.tables import usage
from portico.storage.usage.records import Counts

CLIENT: Final = (400, 499)
SERVER: Final = (500, 599)


class Usage:
    """What has been counted of callers, and of everyone together."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def callers(self, name: str, tenant: str | None, kind: str | None = None) -> list[int]:
        """The numbers of those that are called so: a key by its id, anyone else by the principal.

        More than one where a name is used in several tenants; none where nothing was ever counted.
        """
        them = usage.usage_callers
        wanted = select(them.c.id).where(
            or_(them.c.key_id == name, (them.c.principal == name) & (them.c.key_id == "")),
        )
        if tenant is not None:
            wanted = wanted.where(them.c.tenant_id == tenant)
        if kind is not None:
            wanted = wanted.where(them.c.kind == kind)
        async with self._db.read() as session:
            return list((await session.scalars(wanted)).all())

    async def series(self, callers: Collection[int], span: int, start: int, end: int) -> dict[int, Counts]:
        """What callers had in each span of MINUTE, HOUR or DAY, by its beginning; spans without requests are left out.

        `start` and `end` are beginnings of spans.
        """
        level = usage.LEVELS[span]
        within = (level.c.caller.in_(callers), level.c.at >= start, level.c.at < end)
        return await self._sums(level, level.c.at, within) if callers else {}

    async def totals(self, tenant: str | None, span: int, start: int, end: int) -> dict[int, Counts]:
        """The same of all callers of a tenant, or of every tenant."""
        return await self._sums(usage.usage_totals, usage.usage_totals.c.at, _of_all(tenant, span, start, end))

    async def statuses(self, tenant: str | None, span: int, start: int, end: int) -> dict[int, Counts]:
        """What all callers had from `start` to `end`, by the status of the answer."""
        return await self._sums(usage.usage_totals, usage.usage_totals.c.status, _of_all(tenant, span, start, end))

    async def _sums(
        self, table: Table, by: ColumnElement[int], within: Sequence[ColumnElement[bool]]
    ) -> dict[int, Counts]:
        c = table.c
        columns = [
            func.sum(c.requests),
            *(func.sum(case((c.status.between(*errors), c.requests), else_=0)) for errors in (CLIENT, SERVER)),
            *(func.sum(c[name]) for name in usage.COUNTED[1:]),
        ]
        async with self._db.read() as session:
            rows = (await session.execute(select(by, *columns).where(*within).group_by(by).order_by(by))).all()
        return {int(row[0]): _counts(row) for row in rows}


def _of_all(tenant: str | None, span: int, start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    c = usage.usage_totals.c
    whose = usage.EVERYONE if tenant is None else tenant
    return c.span == span, c.tenant_id == whose, c.at >= start, c.at < end


def _counts(row: Row[Any]) -> Counts:
    requests, client_errors, server_errors, bytes_in, bytes_out, micros, *buckets = map(int, row[1:])  # from decimals
    return Counts(requests, client_errors, server_errors, bytes_in, bytes_out, micros, tuple(buckets))
