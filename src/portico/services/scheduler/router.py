"""The routes of `scheduler`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response

from portico.identity.principal import Principal
from portico.services import callers, inputs
from portico.services.callers import needs
from portico.services.document import refusals
from portico.services.scheduler import schemas
from portico.services.scheduler.schemas import JobDetail, JobView, Run, TaskView, job_detail, job_view, task_view
from portico.services.scheduler.service import Scheduling
from portico.services.values import Cursor, Id, Limit, Tenant
from portico.services.views import Page

JOBS: Final = "/api/v1/admin/jobs"
TASKS: Final = "/api/v1/scheduler/tasks"
TAKEN: Final = refusals({409: "It does not fit what is there"})

JobsReader = Annotated[Principal, Depends(needs("jobs:read"))]
JobsWriter = Annotated[Principal, Depends(needs("jobs:write"))]
TasksReader = Annotated[Principal, Depends(needs("schedules:read"))]
TasksWriter = Annotated[Principal, Depends(needs("schedules:write"))]

Word = Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9_.]*$", max_length=64)]


def build(scheduling: Scheduling) -> APIRouter:
    """A router over `scheduling`."""
    router = inputs.router("scheduler")
    _jobs(router, scheduling)
    _tasks(router, scheduling)
    _task(router, scheduling)
    _runs(router, scheduling)
    return router


def _jobs(router: APIRouter, scheduling: Scheduling) -> None:
    @router.get(JOBS, summary="Jobs, newest first")
    async def jobs(
        caller: JobsReader,
        tenant: Tenant = None,
        state: schemas.State | None = None,
        kind: Word = None,
        queue: Word = None,
        after: Cursor = None,
        limit: Limit = 50,
    ) -> Page[JobView]:
        scope = callers.scope(caller, tenant)
        found, following = await scheduling.jobs.list(
            tenant=scope, state=state, kind=kind, queue=queue, after=after, limit=limit
        )
        return Page(items=[job_view(record) for record in found], next_cursor=following)

    @router.get(JOBS + "/{id}", summary="A job, its payload, result and attempts")
    async def job(caller: JobsReader, name: Id) -> JobDetail:
        return job_detail(*await scheduling.job(caller, name))

    @router.post(JOBS + "/{id}/cancel", summary="Cancel a job; one that runs is interrupted")
    async def cancel(caller: JobsWriter, name: Id) -> JobView:
        return job_view(await scheduling.cancel(caller, name))

    @router.post(JOBS + "/{id}/retry", responses=TAKEN, summary="Queue a failed or cancelled job again")
    async def retry(caller: JobsWriter, name: Id) -> JobView:
        return job_view(await scheduling.retry(caller, name))


def _tasks(router: APIRouter, scheduling: Scheduling) -> None:
    @router.get(TASKS, summary="Schedules, oldest first")
    async def tasks(
        caller: TasksReader, tenant: Tenant = None, after: Cursor = None, limit: Limit = 50
    ) -> Page[TaskView]:
        scope = callers.scope(caller, tenant)
        found, following = await scheduling.schedules.list(tenant=scope, after=after, limit=limit)
        return Page(items=[task_view(record) for record in found], next_cursor=following)

    @router.post(TASKS, status_code=201, responses=TAKEN, summary="Create a schedule")
    async def create(caller: TasksWriter, body: schemas.NewTask) -> TaskView:
        return task_view(await scheduling.create(caller, body))


def _task(router: APIRouter, scheduling: Scheduling) -> None:
    @router.get(TASKS + "/{id}", summary="A schedule")
    async def task(caller: TasksReader, name: Id) -> TaskView:
        return task_view(await scheduling.task(caller, name))

    @router.patch(TASKS + "/{id}", responses=TAKEN, summary="Change a schedule, pause it, or let it go on")
    async def change(caller: TasksWriter, name: Id, body: schemas.TaskChange) -> TaskView:
        return task_view(await scheduling.change(caller, name, body))

    @router.delete(TASKS + "/{id}", status_code=204, response_class=Response, summary="Remove a schedule")
    async def remove(caller: TasksWriter, name: Id) -> None:
        await scheduling.schedules.delete(name, callers.sight(caller))


def _runs(router: APIRouter, scheduling: Scheduling) -> None:
    @router.post(TASKS + "/{id}/run", status_code=202, summary="Run it now, beside its times")
    async def run(caller: TasksWriter, name: Id) -> Run:
        return Run(job=await scheduling.run(caller, name))

    @router.get(TASKS + "/{id}/runs", summary="The runs of a schedule, newest first")
    async def runs(caller: TasksReader, name: Id, after: Cursor = None, limit: Limit = 50) -> Page[JobView]:
        record = await scheduling.task(caller, name)
        found, following = await scheduling.jobs.list(
            tenant=record.tenant, schedule=record.id, after=after, limit=limit
        )
        return Page(items=[job_view(each) for each in found], next_cursor=following)
