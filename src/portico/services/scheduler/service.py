"""What callers may do with jobs and schedules; nobody reaches into another tenant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from portico.errors import JobRefused, Missing
from portico.identity.principal import Principal
from portico.jobs.handler import Handlers
from portico.jobs.jobs import PAYLOAD, Jobs
from portico.jobs.records import Attempt, JobRecord
from portico.jobs.schedules import ScheduleRecord, Schedules, Wanted
from portico.services import callers
from portico.services.problems import Refused
from portico.services.scheduler.schemas import NewTask, TaskChange


@dataclass(frozen=True, slots=True)
class Scheduling:
    """The repositories, and the kinds that there are."""

    jobs: Jobs
    schedules: Schedules
    handlers: Handlers

    async def job(self, caller: Principal, name: str) -> tuple[JobRecord, list[Attempt]]:
        """A job that the caller may see, and its attempts; Missing otherwise."""
        record = await self.jobs.get(name, callers.sight(caller))
        if record is None:
            raise Missing("there is no such job")
        return record, await self.jobs.attempts(name)

    async def cancel(self, caller: Principal, name: str) -> JobRecord:
        """Cancel a job."""
        return await self.jobs.cancel(name, callers.sight(caller))

    async def retry(self, caller: Principal, name: str) -> JobRecord:
        """Queue a failed or cancelled job again."""
        with _refused(409):
            return await self.jobs.retry(name, callers.sight(caller))

    async def create(self, caller: Principal, new: NewTask) -> ScheduleRecord:
        """A new schedule."""
        tenant = callers.scope(caller, new.tenant)
        wanted = Wanted(
            name=new.name,
            kind=new.kind,
            payload=self._payload(caller, new.kind, new.payload),
            cron=new.cron,
            zone=new.time_zone,
            every=new.every_seconds,
            jitter=new.jitter_seconds,
            missed=new.missed,
            paused=new.paused,
        )
        with _refused(409):
            return await self.schedules.create(wanted, tenant=tenant, owner=caller.id)

    async def task(self, caller: Principal, name: str) -> ScheduleRecord:
        """A schedule that the caller may see; Missing otherwise."""
        record = await self.schedules.get(name, callers.sight(caller))
        if record is None:
            raise Missing("there is no such schedule")
        return record

    async def change(self, caller: Principal, name: str, change: TaskChange) -> ScheduleRecord:
        """Change a schedule, pause it, or let it go on."""
        record = await self.task(caller, name)
        payload = change.payload
        if payload is not None:
            payload = self._payload(caller, record.kind, payload)
        wanted = Wanted(
            name=change.name,
            payload=payload,
            cron=change.cron,
            zone=change.time_zone,
            every=change.every_seconds,
            jitter=change.jitter_seconds,
            missed=change.missed,
            paused=change.paused,
        )
        return await self.schedules.change(name, wanted, record.tenant)

    async def run(self, caller: Principal, name: str) -> str:
        """Run a schedule's job now; the job's id."""
        record = await self.task(caller, name)
        return await self.schedules.run(name, record.tenant)

    def _payload(self, caller: Principal, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
        """What is kept of a payload; Refused when the kind is none for users, or does not take it."""
        handler = self.handlers.get(kind)
        if handler is None or handler.accepts is None:
            known = ", ".join(each.kind for each in self.handlers.schedulable()) or "none"
            raise Refused(422, "unknown_kind", f"{kind} is no kind of task", f"there are: {known}")
        if handler.permission and not caller.allows(handler.permission):
            detail = f"the caller lacks the permission {handler.permission}, which {kind} needs"
            raise Refused(403, "permission_missing", detail, "ask an administrator for it")
        if len(json.dumps(payload).encode()) > PAYLOAD:
            raise Refused(413, "payload_too_large", f"the payload is larger than {PAYLOAD // 1024} KiB", "send less")
        try:
            return handler.accepts(payload)
        except ValueError as error:
            detail = f"{kind} does not take this payload: {_said(error)}"
            raise Refused(422, "bad_payload", detail, "see the kind's description") from None


def _said(error: ValueError) -> str:
    """The places and messages of a model's refusal, without the values; or the error's own sentence."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)[:200]
    found = errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:5])[:500]


@contextmanager
def _refused(status: int) -> Iterator[None]:
    try:
        yield
    except JobRefused as error:
        raise Refused(status, "conflict", str(error), "get the present state, and decide anew") from None
