"""The newest requests in detail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select

from portico.storage.database import Database
from portico.storage.tables import usage
from portico.storage.usage.records import Request

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Recent:
    """The repository of requests in detail; it has a bounded number of them, of all tenants together."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(
        self,
        tenant: str | None,
        *,
        name: str | None = None,
        route: str | None = None,
        status: tuple[int, int] | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> tuple[list[Request], int | None]:
        """A page, newest first, and the `before` of the next one.

        `name`: a key's id, or another caller's principal; `status`: the lowest and the highest.
        """
        ring = usage.requests_recent.c
        wanted = select(usage.requests_recent).order_by(ring.number.desc()).limit(limit + 1)
        if tenant is not None:
            wanted = wanted.where(ring.tenant_id == tenant)
        if name is not None:
            wanted = wanted.where((ring.key_id == name) | ((ring.principal == name) & (ring.key_id == "")))
        if route is not None:
            wanted = wanted.where(ring.route == route)
        if status is not None:
            wanted = wanted.where(ring.status.between(*status))
        if before is not None:
            wanted = wanted.where(ring.number < before)
        async with self._db.read() as session:
            rows = (await session.execute(wanted)).all()
        found = [
            Request(row.number, _EPOCH + timedelta(microseconds=row.at), row.request_id, row.tenant_id, *row[4:])
            for row in rows[:limit]
        ]
        return found, found[-1].number if len(rows) > limit else None
