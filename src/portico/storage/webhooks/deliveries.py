"""What is to be delivered: added in the caller's transaction, listed, queued again, handed to the job that delivers.

One job at a time counts for an endpoint, named by the endpoint's `wake`. Adding makes a job only where none is about to
look; the job makes its successor when something is left. So a thousand events are one job, not a thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import Missing
from portico.storage.accounts import rules
from portico.storage.audit import note
from portico.storage.database import Database
from portico.storage.ids import is_id, now, uuid7
from portico.storage.tables import DeliveryRow, EndpointRow, WebhookAttemptRow
from portico.storage.webhooks.endpoints import Endpoints, make
from portico.storage.webhooks.records import FAILED, PENDING, REQUEST, Attempt, Delivery, Due, Target
from portico.storage.webhooks.secrets import Secrets
from portico.telemetry import tracing

MOST: Final = 50_000  # deliveries that wait for one endpoint
SOON: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Wake:
    """A job to enqueue in the same transaction: of which endpoint, and when it is due."""

    endpoint: str
    tenant: str
    token: str
    delay: float = 0.0


class Deliveries:
    """The repository of deliveries."""

    def __init__(self, db: Database, endpoints: Endpoints, secrets: Secrets) -> None:
        self._db = db
        self._endpoints = endpoints
        self._secrets = secrets

    async def add(
        self,
        session: AsyncSession,
        tenant: str,
        owner: str,
        event: str,
        bodies: Iterable[bytes],
        *,
        to_all: bool = False,
    ) -> tuple[list[str], list[Wake]]:
        """A delivery of each body to each endpoint of the owner that wants the event, or with `to_all` to all of them;
        and the jobs. Bodies that nobody wants are not made.
        """
        wanted = _living(tenant, owner).where(EndpointRow.kind != REQUEST).order_by(EndpointRow.id).with_for_update()
        rows = [row for row in await session.scalars(wanted) if to_all or event in row.events]
        if not rows:
            return [], []
        made = [_queue(session, row, event, body, "") for body in bodies for row in rows]
        return [each for each in made if each], _wakes(rows)

    async def add_to(
        self,
        session: AsyncSession,
        tenant: str,
        owner: str,
        url: str,
        origin: str,
        event: str,
        body: bytes,
        retries: int,
    ) -> tuple[list[str], list[Wake]]:
        """One delivery to a URL that a request names, signed with the owner's default secret; and the job."""
        await self._secrets.default(session, tenant, owner)
        row = await self._origin(session, tenant, owner, origin, retries)
        made = _queue(session, row, event, body, url)
        return [made] if made else [], _wakes([row])

    async def again(self, session: AsyncSession, tenant: str, owner: str, id: str) -> tuple[str, list[Wake]]:  # noqa: A002
        """Queue a delivery that has ended anew; the state that it had, and the job. Missing when it is nobody's."""
        found = await session.scalar(select(DeliveryRow).where(DeliveryRow.id == id)) if is_id(id) else None
        row = None
        if found is not None:
            mine = _living(tenant, owner, disabled=True).where(EndpointRow.id == found.endpoint_id)
            row = await session.scalar(mine.with_for_update())
        if found is None or row is None:
            raise Missing("there is no such delivery")
        before = found.state
        if before == PENDING or row.disabled_at is not None:
            return (before if row.disabled_at is None else row.disabled_for), []
        found.state, found.step, found.next_at, found.ended_at = PENDING, 0, now(), None
        found.traceparent = tracing.traceparent() or None
        row.pending += 1
        note(session, "webhooks.replay", ("delivery", found.id), tenant=tenant, detail={"webhook": row.id})
        return before, _wakes([row])

    async def tested(self, session: AsyncSession, tenant: str, owner: str, id: str, event: str, body: bytes) -> str:  # noqa: A002
        """A delivery that is attempted at once by whoever adds it, and not again."""
        row = await self._endpoints.row(session, tenant, owner, id, lock=True)
        row.pending += 1
        note(session, "webhooks.test", ("webhook", row.id), tenant=tenant)
        return _add(session, id, tenant, event, body, "", FAILED, None)

    async def page(
        self, tenant: str, owner: str, endpoint: str, before: str | None, limit: int
    ) -> tuple[list[Delivery], str | None]:
        """A page of an endpoint's deliveries, newest first, with their attempts, and the cursor of the next."""
        limit = rules.page(before, limit)
        async with self._db.read() as session:
            await self._endpoints.row(session, tenant, owner, endpoint)
            wanted = select(DeliveryRow).where(DeliveryRow.endpoint_id == endpoint).order_by(DeliveryRow.id.desc())
            if before is not None:
                wanted = wanted.where(DeliveryRow.id < before)
            rows = (await session.scalars(wanted.limit(limit + 1))).all()
            attempts = await _attempts(session, [row.id for row in rows[:limit]])
        found = [_record(row, attempts.get(row.id, ())) for row in rows[:limit]]
        return found, rows[limit - 1].id if len(rows) > limit else None

    async def target(self, endpoint: str, token: str) -> Target | None:
        """The endpoint of a job; None when it is gone or disabled, or the job is not the one that counts."""
        wanted = select(EndpointRow).where(EndpointRow.id == endpoint, EndpointRow.wake == token)
        wanted = wanted.where(EndpointRow.deleted_at.is_(None), EndpointRow.disabled_at.is_(None))
        async with self._db.read() as session:
            row = await session.scalar(wanted)
            if row is None:
                return None
            own = None if row.kind == REQUEST else row.id
            secrets = await self._secrets.signing(session, row.tenant_id, row.owner, own)
            return Target(
                row.id,
                row.tenant_id,
                row.owner,
                row.kind,
                row.url,
                row.retry_count,
                row.failing_since,
                tuple(secrets),
            )

    async def due(self, endpoint: str, limit: int) -> list[Due]:
        """Deliveries whose time has come, the longest due first."""
        columns = (DeliveryRow.id, DeliveryRow.event, DeliveryRow.url, DeliveryRow.body, DeliveryRow.attempts)
        wanted = select(*columns, DeliveryRow.step, DeliveryRow.traceparent).where(
            DeliveryRow.endpoint_id == endpoint, DeliveryRow.next_at <= now()
        )
        async with self._db.read() as session:
            found = await session.execute(wanted.order_by(DeliveryRow.next_at, DeliveryRow.id).limit(limit))
            return [Due(*row) for row in found]

    async def hand_over(self, session: AsyncSession, endpoint: str, token: str, least: float = 0.0) -> list[Wake]:
        """The job with this token ends: its successor, if there is more to do, in `least` seconds at the earliest."""
        wanted = select(EndpointRow).where(EndpointRow.id == endpoint, EndpointRow.wake == token)
        row = await session.scalar(wanted.with_for_update())
        if row is None:
            return []
        first = await session.scalar(select(func.min(DeliveryRow.next_at)).where(DeliveryRow.endpoint_id == endpoint))
        row.wake = row.wake_at = None
        if first is None:
            row.pending = 0
        if first is None or row.deleted_at is not None or row.disabled_at is not None:
            return []
        return [_wake(row, max(first, now() + timedelta(seconds=least)))]

    async def forgotten(self, session: AsyncSession, since: datetime, limit: int = 200) -> list[Wake]:
        """New jobs for endpoints whose job was due before `since` and has not run: it was cancelled, or failed."""
        wanted = select(EndpointRow).where(
            EndpointRow.wake_at < since, EndpointRow.deleted_at.is_(None), EndpointRow.disabled_at.is_(None)
        )
        rows = await session.scalars(wanted.order_by(EndpointRow.id).limit(limit).with_for_update())
        return [_wake(row, now()) for row in rows]

    async def _origin(self, session: AsyncSession, tenant: str, owner: str, origin: str, retries: int) -> EndpointRow:
        """The row of an origin that requests name, made when it is new."""
        wanted = select(EndpointRow).where(
            EndpointRow.tenant_id == tenant,
            EndpointRow.owner == owner,
            EndpointRow.kind == REQUEST,
            EndpointRow.url == origin,
        )
        row = await session.scalar(wanted.with_for_update())
        if row is not None:
            return row
        try:
            async with session.begin_nested():
                row = make(tenant, owner, origin, (), retries)
                session.add(row)
            return row
        except IntegrityError:  # another process has just made it
            return (await session.scalars(wanted.with_for_update())).one()


def _living(tenant: str, owner: str, *, disabled: bool = False) -> Select[EndpointRow]:
    wanted = select(EndpointRow).where(
        EndpointRow.tenant_id == tenant, EndpointRow.owner == owner, EndpointRow.deleted_at.is_(None)
    )
    return wanted if disabled else wanted.where(EndpointRow.disabled_at.is_(None))


def _queue(session: AsyncSession, row: EndpointRow, event: str, body: bytes, url: str) -> str:
    """A new delivery's id; "" when too many wait already."""
    if row.pending >= MOST:
        row.dropped += 1
        return ""
    row.pending += 1
    return _add(session, row.id, row.tenant_id, event, body, url, PENDING, now())


def _add(
    session: AsyncSession,
    endpoint: str,
    tenant: str,
    event: str,
    body: bytes,
    url: str,
    state: str,
    next_at: datetime | None,
) -> str:
    name = uuid7()
    row = DeliveryRow(
        id=name, tenant_id=tenant, endpoint_id=endpoint, event=event, url=url, body=body, state=state, attempts=0,
        step=0, next_at=next_at, created_at=now(), ended_at=None if next_at else now(),
        traceparent=tracing.traceparent() or None,
    )  # fmt: skip
    session.add(row)
    return name


def _wakes(rows: Iterable[EndpointRow]) -> list[Wake]:
    moment = now()
    late = [row for row in rows if row.wake_at is None or row.wake_at > moment + SOON]
    return [_wake(row, moment) for row in late]


def _wake(row: EndpointRow, at: datetime) -> Wake:
    row.wake, row.wake_at = uuid7(), at
    return Wake(row.id, row.tenant_id, row.wake, max(0.0, (at - now()).total_seconds()))


async def _attempts(session: AsyncSession, ids: Sequence[str]) -> dict[str, list[Attempt]]:
    wanted = select(WebhookAttemptRow).where(WebhookAttemptRow.delivery_id.in_(ids)).order_by(WebhookAttemptRow.number)
    found: dict[str, list[Attempt]] = {}
    for row in await session.scalars(wanted):
        made = Attempt(row.number, row.at, row.http_status, row.response_body, row.seconds, row.error)
        found.setdefault(row.delivery_id, []).append(made)
    return found


def _record(row: DeliveryRow, attempts: Sequence[Attempt]) -> Delivery:
    return Delivery(row.id, row.event, row.state, row.created_at, row.ended_at, row.next_at, tuple(attempts))
