"""Registered URLs: made, listed, removed. Everything is asked for by tenant and owner: nobody else's is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import Missing, Taken
from portico.storage.accounts import rules
from portico.storage.audit import note
from portico.storage.database import Database
from portico.storage.ids import is_id, now, uuid7
from portico.storage.tables import EndpointRow, KeyRow
from portico.storage.webhooks.records import REGISTERED, REQUEST, Endpoint

if TYPE_CHECKING:
    from portico.storage.webhooks.secrets import Secrets

MOST: Final = 50  # endpoints of one owner


class Endpoints:
    """The repository of endpoints."""

    def __init__(self, db: Database, secrets: Secrets) -> None:
        self._db = db
        self._secrets = secrets

    async def owner(self, kind: str, id: str) -> str:  # noqa: A002
        """Whom a principal's webhooks belong to: keys that replaced one another are one owner."""
        if kind == "key" and is_id(id):
            async with self._db.read() as session:
                family = await session.scalar(select(KeyRow.family).where(KeyRow.id == id))
            return f"key:{family or id}"
        return f"{kind}:{id}"

    async def register(
        self, tenant: str, owner: str, url: str, events: Sequence[str], retry_count: int, secret: bytes
    ) -> Endpoint:
        """A new endpoint, signed with `secret`. Taken when the owner has 50."""
        row = make(tenant, owner, url, events, retry_count)
        async with self._db.write() as session:
            count = select(func.count()).select_from(_mine(tenant, owner).subquery())
            if (await session.scalar(count) or 0) >= MOST:
                raise Taken(f"there are {MOST} webhooks already, and there can't be more: remove one")
            session.add(row)
            await session.flush()
            self._secrets.add(session, tenant, owner, row.id, secret)
            _note(session, "register", tenant, row.id, {"host": urlsplit(url).hostname, "events": list(events)})
        return record(row)

    async def list(
        self, tenant: str, owner: str, after: str | None = None, limit: int = rules.PAGE
    ) -> tuple[list[Endpoint], str | None]:
        """A page of endpoints, oldest first, and the cursor of the next."""
        limit = rules.page(after, limit)
        wanted = _mine(tenant, owner).order_by(EndpointRow.id).limit(limit + 1)
        if after is not None:
            wanted = wanted.where(EndpointRow.id > after)
        async with self._db.read() as session:
            rows = (await session.scalars(wanted)).all()
        return [record(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def get(self, tenant: str, owner: str, id: str) -> Endpoint:  # noqa: A002
        """One endpoint; Missing when there is none of this owner."""
        async with self._db.read() as session:
            return record(await self.row(session, tenant, owner, id))

    async def remove(self, tenant: str, owner: str, id: str) -> None:  # noqa: A002
        """Nothing is sent to it any more, and nobody sees it; its deliveries are removed later, bit by bit."""
        async with self._db.write() as session:
            row = await self.row(session, tenant, owner, id, lock=True)
            row.deleted_at = now()
            _note(session, "remove", tenant, row.id)

    async def enable(self, tenant: str, owner: str, id: str) -> Endpoint:  # noqa: A002
        """Send to it again, as if it had never failed; one that is not disabled stays as it is."""
        async with self._db.write() as session:
            row = await self.row(session, tenant, owner, id, lock=True)
            if row.disabled_at is not None:
                _note(session, "enable", tenant, row.id, {"was": row.disabled_for})
                row.disabled_at, row.disabled_for, row.failing_since = None, "", None
        return record(row)

    async def rotate(self, tenant: str, owner: str, id: str, secret: bytes, grace: float) -> datetime:  # noqa: A002
        """A new secret; until when the old one signs beside it."""
        async with self._db.write() as session:
            row = await self.row(session, tenant, owner, id, lock=True)
            _note(session, "rotate", tenant, row.id, {"grace_seconds": grace})
            return await self._secrets.rotate(session, tenant, owner, row.id, secret, grace)

    async def rotate_default(self, tenant: str, owner: str, secret: bytes, grace: float) -> datetime:
        """The same of the owner's default secret, or the first one."""
        async with self._db.write() as session:
            _note(session, "rotate_default", tenant, owner, {"grace_seconds": grace})
            return await self._secrets.rotate(session, tenant, owner, None, secret, grace)

    async def default_since(self, tenant: str, owner: str) -> datetime | None:
        """When the owner's default secret was made; None: there is none."""
        async with self._db.read() as session:
            return await self._secrets.since(session, tenant, owner)

    async def row(
        self,
        session: AsyncSession,
        tenant: str,
        owner: str,
        id: str,  # noqa: A002
        *,
        lock: bool = False,
    ) -> EndpointRow:
        """The row of a registered endpoint; Missing when there is none of this owner."""
        wanted = _mine(tenant, owner).where(EndpointRow.id == id)
        row = await session.scalar(wanted.with_for_update() if lock else wanted) if is_id(id) else None
        if row is None:
            raise Missing("there is no such webhook")
        return row


def make(tenant: str, owner: str, url: str, events: Sequence[str], retry_count: int) -> EndpointRow:
    """The row of a new endpoint, of kind `request` when it is for no events."""
    return EndpointRow(
        id=uuid7(),
        tenant_id=tenant,
        owner=owner,
        kind=REGISTERED if events else REQUEST,
        url=url,
        events=list(events),
        retry_count=retry_count,
        created_at=now(),
        deleted_at=None,
        disabled_at=None,
        disabled_for="",
        failing_since=None,
        wake=None,
        wake_at=None,
        pending=0,
        dropped=0,
        delivered=0,
        failed=0,
        seconds=0.0,
        last_success_at=None,
        last_failure_at=None,
        limited=0,
        limited_at=None,
    )


def record(row: EndpointRow) -> Endpoint:
    """A row as others see it."""
    return Endpoint(
        id=row.id,
        tenant=row.tenant_id,
        owner=row.owner,
        url=row.url,
        events=tuple(row.events),
        retry_count=row.retry_count,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        disabled_for=row.disabled_for,
        failing_since=row.failing_since,
        pending=row.pending,
        dropped=row.dropped,
        delivered=row.delivered,
        failed=row.failed,
        seconds=row.seconds,
        last_success_at=row.last_success_at,
        last_failure_at=row.last_failure_at,
    )


def _mine(tenant: str, owner: str) -> Select[EndpointRow]:
    return select(EndpointRow).where(
        EndpointRow.tenant_id == tenant,
        EndpointRow.owner == owner,
        EndpointRow.kind == REGISTERED,
        EndpointRow.deleted_at.is_(None),
    )


def _note(session: AsyncSession, verb: str, tenant: str, id: str, detail: Mapping[str, Any] | None = None) -> None:  # noqa: A002
    note(session, f"webhooks.{verb}", ("webhook", id), tenant=tenant, detail=detail)
