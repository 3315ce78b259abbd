"""Schedules: jobs that are made again and again. Kept here; `clockwork` makes the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import JobRefused, Missing, Taken
from portico.jobs import clock, due
from portico.jobs.handler import Schedule
from portico.jobs.jobs import Jobs, New
from portico.storage.accounts import rules, standing
from portico.storage.audit import note
from portico.storage.database import POSTGRESQL, Database
from portico.storage.ids import is_id, now, uuid7
from portico.storage.postgresql import SCHEDULES_LOCK
from portico.storage.tables import ScheduleRow

MOST: Final = 1000  # of a tenant


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule. `next_at` None: paused, or never again."""

    id: str
    tenant: str
    owner: str
    name: str
    kind: str
    payload: dict[str, Any]
    cron: str
    zone: str
    every: float
    jitter: float
    missed: str
    paused: bool
    next_at: datetime | None
    last_at: datetime | None
    last_job: str
    skipped: int
    created_at: datetime
    suspended: bool = False  # its owner is disabled: its times pass


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be said about a schedule; when changing one, None leaves as it is."""

    name: str | None = None
    kind: str | None = None
    payload: dict[str, Any] | None = None
    cron: str | None = None
    zone: str | None = None
    every: float | None = None
    jitter: float | None = None
    missed: str | None = None
    paused: bool | None = None


class Schedules:
    """The repository of schedules. Those of plugins are not shown."""

    def __init__(self, db: Database, jobs: Jobs) -> None:
        self._db = db
        self._jobs = jobs

    async def create(self, wanted: Wanted, *, tenant: str, owner: str) -> ScheduleRecord:
        """A new schedule. Invalid names what can't be; Taken: the tenant has one of that name; JobRefused: too many."""
        async with self._db.write() as session:
            count = select(func.count()).where(ScheduleRow.tenant_id == tenant)
            if (await session.scalar(count) or 0) >= MOST:
                raise JobRefused(f"a tenant has at most {MOST} schedules")
            row = _new(wanted, tenant, owner)
            await self._time(session, row)
            session.add(row)
            await _flush(session)
            _note(session, "create", row)
        return record(row)

    async def get(self, id: str, tenant: str | None = None) -> ScheduleRecord | None:  # noqa: A002
        """The schedule with this id; `tenant` None: whosever it is."""
        if not is_id(id):
            return None
        async with self._db.read() as session:
            row = await session.scalar(_one(id, tenant))
            return (await _records(session, [row]))[0] if row is not None else None

    async def list(
        self, *, tenant: str | None = None, after: str | None = None, limit: int = rules.PAGE
    ) -> tuple[list[ScheduleRecord], str | None]:
        """A page of schedules, oldest first, and the cursor of the next."""
        limit = rules.page(after, limit)
        wanted = select(ScheduleRow).where(~ScheduleRow.builtin).order_by(ScheduleRow.id).limit(limit + 1)
        if tenant is not None:
            wanted = wanted.where(ScheduleRow.tenant_id == tenant)
        if after is not None:
            wanted = wanted.where(ScheduleRow.id > after)
        async with self._db.read() as session:
            rows = (await session.scalars(wanted)).all()
            found = await _records(session, rows[:limit])
        return found, rows[limit - 1].id if len(rows) > limit else None

    async def change(self, id: str, wanted: Wanted, tenant: str | None = None) -> ScheduleRecord:  # noqa: A002
        """Change it; its next time is found anew. Missing when there is none, otherwise as `create`."""
        async with self._db.write() as session:
            row = await _mine(session, id, tenant)
            _apply(row, wanted)
            await self._time(session, row)
            await _flush(session)
            _note(session, "change", row)
            return (await _records(session, [row]))[0]

    async def delete(self, id: str, tenant: str | None = None) -> None:  # noqa: A002
        """Remove it; jobs that it has made stay. Missing when there is none."""
        async with self._db.write() as session:
            row = await _mine(session, id, tenant)
            await session.delete(row)
            _note(session, "delete", row)

    async def run(self, id: str, tenant: str | None = None) -> str:  # noqa: A002
        """Make its job now, beside its times; the job's id. Missing when there is none."""
        async with self._db.write() as session:
            row = await _mine(session, id, tenant)
            made = New(row.kind, row.payload, row.tenant_id, row.owner, schedule=row.id)
            row.last_job = (await self._jobs.enqueue_many(session, [made]))[0]
            _note(session, "run", row)
        return row.last_job

    async def bring(self, schedules: Sequence[Schedule]) -> None:
        """Have exactly these as the plugins' own: made, changed or removed as they are now."""
        async with self._db.write() as session:
            if self._db.dialect == POSTGRESQL:  # processes that start together would all make them
                await session.execute(text(f"SELECT pg_advisory_xact_lock({SCHEDULES_LOCK})"))
            found = await session.scalars(select(ScheduleRow).where(ScheduleRow.builtin).with_for_update())
            there = {row.name: row for row in found}
            for each in schedules:
                row = there.pop(each.name, None)
                wanted = Wanted(
                    each.name, each.kind, each.payload, each.cron, each.zone, each.every, each.jitter, each.missed
                )
                if row is None:
                    row = _new(wanted, "default", "")
                    row.builtin = True
                    await self._time(session, row)
                    session.add(row)
                elif _differs(row, each):
                    _apply(row, wanted)
                    await self._time(session, row)
            if there:
                await session.execute(delete(ScheduleRow).where(ScheduleRow.id.in_([row.id for row in there.values()])))

    async def _time(self, session: AsyncSession, row: ScheduleRow) -> None:
        moment = await clock.now(session, self._db)
        row.next_at = None if row.paused else due.following(timing(row), moment)


def timing(row: ScheduleRow) -> due.Timing:
    """When it is due."""
    return due.Timing(row.cron, row.zone, row.every, row.origin)


def record(row: ScheduleRow, suspended: bool = False) -> ScheduleRecord:
    """A row as others see it."""
    return ScheduleRecord(
        id=row.id,
        tenant=row.tenant_id,
        owner=row.owner,
        name=row.name,
        kind=row.kind,
        payload=row.payload,
        cron=row.cron,
        zone=row.zone,
        every=row.every,
        jitter=row.jitter,
        missed=row.missed,
        paused=row.paused,
        next_at=row.next_at,
        last_at=row.last_at,
        last_job=row.last_job or "",
        skipped=row.skipped,
        created_at=row.created_at,
        suspended=suspended,
    )


async def _records(session: AsyncSession, rows: Sequence[ScheduleRow]) -> list[ScheduleRecord]:
    off = await standing.disabled(session, (row.owner for row in rows))
    return [record(row, row.owner in off) for row in rows]


def _new(wanted: Wanted, tenant: str, owner: str) -> ScheduleRow:
    moment = now()
    row = ScheduleRow(
        id=uuid7(), tenant_id=tenant, owner=owner, name="", kind="", payload={}, cron="", zone="UTC", every=0.0,
        jitter=0.0, missed="once", paused=False, origin=moment, next_at=None, last_at=None, last_job=None, skipped=0,
        builtin=False, created_at=moment,
    )  # fmt: skip
    _apply(row, wanted)
    return row


def _apply(row: ScheduleRow, wanted: Wanted) -> None:
    """Take over what is said; Invalid names what can't be."""
    if wanted.name is not None:
        row.name = rules.text("name", wanted.name)
    for field in ("kind", "payload", "cron", "zone", "every", "jitter", "missed", "paused"):
        value = getattr(wanted, field)
        if value is not None:
            setattr(row, field, value)
    if wanted.cron and wanted.every is None:
        row.every = 0.0
    elif wanted.every and wanted.cron is None:
        row.cron = ""
    if wanted.every:
        row.origin = now()
    due.check(row.cron, row.zone, row.every, row.jitter, row.missed)


def _differs(row: ScheduleRow, wanted: Schedule) -> bool:
    fields = ("kind", "payload", "cron", "zone", "every", "jitter", "missed")
    return any(getattr(row, field) != getattr(wanted, field) for field in fields)


def _one(id: str, tenant: str | None) -> Select[ScheduleRow]:  # noqa: A002
    wanted = select(ScheduleRow).where(ScheduleRow.id == id, ~ScheduleRow.builtin)
    return wanted if tenant is None else wanted.where(ScheduleRow.tenant_id == tenant)


async def _mine(session: AsyncSession, id: str, tenant: str | None) -> ScheduleRow:  # noqa: A002
    row = await session.scalar(_one(id, tenant).with_for_update()) if is_id(id) else None
    if row is None:
        raise Missing("there is no such schedule")
    return row


def _note(session: AsyncSession, verb: str, row: ScheduleRow) -> None:
    detail = {"name": row.name, "kind": row.kind, "paused": row.paused}
    note(session, f"schedules.{verb}", ("schedule", row.id), tenant=row.tenant_id, detail=detail)


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError:
        raise Taken("there is a schedule of this name already") from None
