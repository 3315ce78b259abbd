"""The routes of detection in the background."""

from __future__ import annotations

from typing import Annotated, Final, cast

from fastapi import APIRouter, Header, Request, Response

from portico.jobs.records import FAILED, WAITING, JobRecord
from portico.services import lean
from portico.services.detection import background
from portico.services.detection.assembly import Assembly
from portico.services.detection.callers import User
from portico.services.detection.jobs_schemas import Accepted, DetectionJob, Failure, Status
from portico.services.detection.schemas import Detect
from portico.services.problems import request_id
from portico.services.values import Id

JOBS: Final = "/api/v1/detect/jobs"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]+$",
        max_length=255,
        description="A text of one's own: the same request with the same key is one job",
    ),
]


def add(router: APIRouter, assembly: Assembly) -> None:
    """Add the routes to `router`."""
    work = assembly.background

    async def accept(
        request: Request, response: Response, caller: User, body: Detect, key: IdempotencyKey = None
    ) -> Accepted:
        job = await work.accept(caller, body, request_id(request), _unquoted(key))
        response.headers["Location"] = f"{JOBS}/{job}"
        return Accepted(job_id=job, status_url=f"{JOBS}/{job}")

    lean.add(router, "/api/v1/detect/async", accept, status_code=202, summary="Judge a text in the background")

    @router.get(JOBS + "/{id}", summary="A text that is judged in the background, and its verdict")
    async def job(caller: User, name: Id) -> DetectionJob:
        return _view(await work.find(caller, name))

    @router.delete(JOBS + "/{id}", summary="Have a text not judged after all")
    async def cancel(caller: User, name: Id) -> DetectionJob:
        return _view(await work.cancel(caller, name))


def _unquoted(key: str | None) -> str | None:
    """The draft writes it as a string of structured fields, with quotes; most clients leave them out."""
    if key is not None and len(key) > 2 and key.startswith('"') and key.endswith('"'):
        return key[1:-1]
    return key


def _view(found: JobRecord) -> DetectionJob:
    status = "queued" if found.state == WAITING else found.state
    failed = Failure(code="detection_failed", detail=background.FAILED) if found.state == FAILED else None
    return DetectionJob(
        job_id=found.id,
        status=cast(Status, status),
        created_at=found.created_at,
        started_at=found.started_at,
        ended_at=found.ended_at,
        result=background.result(found),
        error=failed,
    )
