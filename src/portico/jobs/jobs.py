"""The jobs of a database: enqueued in the caller's own transaction, looked at, cancelled, tried again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Insert, Select, delete, func, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import JobRefused, Missing
from portico.jobs import clock
from portico.jobs.handler import LONGEST, NAME, Handlers
from portico.jobs.records import (
    CANCELLED,
    FAILED,
    QUEUED,
    RUNNING,
    STATES,
    WAITING,
    Attempt,
    JobRecord,
    attempt,
    record,
)
from portico.jobs.wake import Wake
from portico.storage.accounts import rules
from portico.storage.audit import note
from portico.storage.database import POSTGRESQL, Database
from portico.storage.ids import is_id, now, uuid7
from portico.storage.tables import AttemptRow, JobRow
from portico.telemetry import tracing

PAYLOAD: Final = 256 * 1024  # bytes as JSON
KEY: Final = 128  # characters
PRIORITY: Final = 1000  # and -1000
LATEST: Final = 366 * 86400.0  # seconds that a job may be put off


@dataclass(frozen=True, slots=True)
class New:
    """A job to enqueue, as the arguments of `Jobs.enqueue` say."""

    kind: str
    payload: dict[str, Any]
    tenant: str = "default"
    owner: str = ""
    queue: str | None = None
    delay: float = 0.0
    at: datetime | None = None
    priority: int = 0
    key: str | None = None
    schedule: str | None = field(default=None, kw_only=True)  # the id of the schedule that makes it
    id: str = field(default="", kw_only=True)  # of `uuid7`, where it has to be known before; "": one is made


class Jobs:
    """Get it from the container. `db` is where the jobs are; `wake` tells workers that there is something to do."""

    def __init__(self, db: Database, handlers: Handlers, wake: Wake) -> None:
        self._db = db
        self._handlers = handlers
        self._wake = wake

    async def enqueue(
        self,
        session: AsyncSession,
        kind: str,
        payload: dict[str, Any],
        *,
        tenant: str = "default",
        owner: str = "",
        queue: str | None = None,
        delay: float = 0.0,
        at: datetime | None = None,
        priority: int = 0,
        key: str | None = None,
    ) -> str:
        """A new job's id. It exists when `session`'s transaction is committed, and not at all when it is rolled back.

        It runs as soon as it can, or `delay` seconds from now, or at the time `at`. Higher priorities (-1000 to 1000)
        go first within a queue. With a `key`, a job of the same tenant, kind and key is there at most once: its id is
        answered again, for as long as it is kept. `payload` is JSON of at most 256 KiB, and no place for secrets.
        JobRefused names what can't be.
        """
        new = New(kind, payload, tenant, owner, queue, delay, at, priority, key)
        return (await self.enqueue_many(session, [new]))[0]

    async def enqueue_many(self, session: AsyncSession, news: Sequence[New]) -> list[str]:
        """The ids of new jobs, in order; many at once cost much less than one by one."""
        moment = await clock.now(session, self._db) if any(new.delay or new.at for new in news) else None
        rows = [self._row(new, moment) for new in news]
        ids = [str(row["id"]) for row in rows]
        plain = [row for row in rows if row["key"] is None]
        if plain:
            await session.execute(JobRow.__table__.insert(), plain)  # type: ignore[attr-defined]
        for at, row in enumerate(rows):
            if row["key"] is not None:
                ids[at] = await self._once(session, row)
        await self._wake.tell(session, {str(row["queue"]) for row in rows})
        return ids

    async def get(self, id: str, tenant: str | None = None) -> JobRecord | None:  # noqa: A002
        """The job with this id; `tenant` None: whosever it is."""
        if not is_id(id):
            return None
        async with self._db.read() as session:
            row = await session.scalar(_one(id, tenant))
        return record(row) if row is not None else None

    async def attempts(self, id: str) -> list[Attempt]:  # noqa: A002
        """The attempts of a job before its last, oldest first."""
        wanted = select(AttemptRow).where(AttemptRow.job_id == id).order_by(AttemptRow.fence)
        async with self._db.read() as session:
            return [attempt(row) for row in await session.scalars(wanted)]

    async def list(
        self,
        *,
        tenant: str | None = None,
        state: str | None = None,
        kind: str | None = None,
        queue: str | None = None,
        schedule: str | None = None,
        after: str | None = None,
        limit: int = rules.PAGE,
    ) -> tuple[list[JobRecord], str | None]:
        """A page of jobs, newest first, and the cursor of the next."""
        limit = rules.page(after, limit)
        wanted = select(JobRow).order_by(JobRow.id.desc()).limit(limit + 1)
        if state is not None:
            wanted = wanted.where(is_in(state))
        for column, value in (
            (JobRow.tenant_id, tenant),
            (JobRow.kind, kind),
            (JobRow.queue, queue),
            (JobRow.schedule_id, schedule),
        ):
            if value is not None:
                wanted = wanted.where(column == value)
        if after is not None:
            wanted = wanted.where(JobRow.id < after)
        async with self._db.read() as session:
            rows = (await session.scalars(wanted)).all()
        return [record(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def cancel(self, id: str, tenant: str | None = None) -> JobRecord:  # noqa: A002
        """Cancel a job: at once when it does not run, else its worker is told and ends it. Missing when there is none.

        One that has ended stays as it is.
        """
        async with self._db.write() as session:
            row = await self._mine(session, id, tenant)
            if row.state in (WAITING, QUEUED):
                row.state, row.run_at, row.ended_at = CANCELLED, None, now()
            elif row.state == RUNNING:
                row.cancelling = True
                await self._wake.tell(session, {row.queue}, cancelled=True)
            note(session, "jobs.cancel", ("job", row.id), tenant=row.tenant_id, detail={"kind": row.kind})
        return record(row)

    async def retry(self, id: str, tenant: str | None = None) -> JobRecord:  # noqa: A002
        """Queue a failed or cancelled job anew, with all its attempts before it. Missing when there is none."""
        async with self._db.write() as session:
            row = await self._mine(session, id, tenant)
            if row.state not in (FAILED, CANCELLED):
                raise JobRefused(f"the job is {row.state}; only a failed or cancelled one can be tried again")
            row.state, row.attempt, row.error, row.ended_at = QUEUED, 0, "", None
            row.cancelling, row.result, row.progress = False, None, None
            note(session, "jobs.retry", ("job", row.id), tenant=row.tenant_id, detail={"kind": row.kind})
            await self._wake.tell(session, {row.queue})
        return record(row)

    async def depth(self) -> tuple[dict[tuple[str, str], int], float]:
        """(queue, state) → how many jobs have not succeeded or been cancelled, and the seconds the oldest queued waits.

        Failed ones count under the queue "". Reads indexes alone.
        """
        found: dict[tuple[str, str], int] = {}
        async with self._db.read() as session:
            for state in (QUEUED, WAITING, RUNNING):
                counted = select(JobRow.queue, func.count()).where(is_in(state)).group_by(JobRow.queue)
                for queue, count in await session.execute(counted):
                    found[queue, state] = count
            found["", FAILED] = await session.scalar(select(func.count()).where(is_in(FAILED))) or 0
            oldest = await session.scalar(select(func.min(JobRow.created_at)).where(is_in(QUEUED)))
        return found, max(0.0, (now() - oldest).total_seconds()) if oldest is not None else 0.0

    async def prune(self, before: datetime, limit: int = 5000) -> int:
        """Remove jobs that ended before `before`, at most `limit`; how many."""
        old = select(JobRow.id).where(JobRow.ended_at < before).order_by(JobRow.ended_at).limit(limit)
        async with self._db.write() as session:
            done = await session.execute(delete(JobRow).where(JobRow.id.in_(old)))
            return int(done.rowcount)  # type: ignore[attr-defined]

    def _row(self, new: New, moment: datetime | None) -> dict[str, Any]:
        _check(new)
        run_at = clock.later(moment, new.delay, new.at) if moment is not None and (new.delay or new.at) else None
        return {
            "id": new.id or uuid7(),
            "kind": new.kind,
            "queue": new.queue or self._handlers.queue(new.kind),
            "tenant_id": new.tenant,
            "owner": new.owner,
            "state": QUEUED if run_at is None else WAITING,
            "rank": -new.priority,
            "run_at": run_at,
            "payload": new.payload,
            "key": new.key,
            "schedule_id": new.schedule,
            "attempt": 0,
            "fence": 0,
            "cancelling": False,
            "error": "",
            "created_at": now(),
            "traceparent": tracing.traceparent() or None,
        }

    async def _once(self, session: AsyncSession, row: Mapping[str, Any]) -> str:
        """Insert a job with a key, or find the one that has it."""
        table = JobRow.__table__
        unique = {"index_elements": ["tenant_id", "kind", "key"], "index_where": JobRow.key.is_not(None)}
        insert: Any = postgresql.insert(table) if self._db.dialect == POSTGRESQL else sqlite.insert(table)  # type: ignore[arg-type]
        wanted: Insert = insert.on_conflict_do_nothing(**unique).values(**row)
        if (await session.execute(wanted.returning(JobRow.id))).first() is not None:
            return str(row["id"])
        same = (JobRow.tenant_id == row["tenant_id"]) & (JobRow.kind == row["kind"]) & (JobRow.key == row["key"])
        return str(await session.scalar(select(JobRow.id).where(same)))

    async def _mine(self, session: AsyncSession, id: str, tenant: str | None) -> JobRow:  # noqa: A002
        row = await session.scalar(_one(id, tenant).with_for_update()) if is_id(id) else None
        if row is None:
            raise Missing("there is no such job")
        return row


def is_in(state: str) -> ColumnElement[bool]:
    """A condition on the state, as a literal: with a parameter no database would use the indexes of one state."""
    assert state in STATES
    return JobRow.state == literal_column(f"'{state}'")


def _one(id: str, tenant: str | None) -> Select[JobRow]:  # noqa: A002
    wanted = select(JobRow).where(JobRow.id == id)
    return wanted if tenant is None else wanted.where(JobRow.tenant_id == tenant)


def _check(new: New) -> None:
    """JobRefused when the job can't be."""
    if not NAME.fullmatch(new.kind) or len(new.kind) > LONGEST:
        raise JobRefused(f"the kind of a job is a name such as webhooks.deliver, of at most {LONGEST} characters")
    if new.queue is not None and (not NAME.fullmatch(new.queue) or len(new.queue) > LONGEST):
        raise JobRefused(f"a queue is a name of at most {LONGEST} characters")
    if not -PRIORITY <= new.priority <= PRIORITY:
        raise JobRefused(f"a priority is from -{PRIORITY} to {PRIORITY}")
    if not 0 <= new.delay <= LATEST:
        raise JobRefused("a job can be put off for at most a year")
    if new.key is not None and not 0 < len(new.key) <= KEY:
        raise JobRefused(f"the key of a job has 1 to {KEY} characters")
    if len(json.dumps(new.payload, allow_nan=False).encode()) > PAYLOAD:
        raise JobRefused(f"the payload of a job is larger than {PAYLOAD // 1024} KiB")
