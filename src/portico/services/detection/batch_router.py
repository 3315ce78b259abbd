"""The route of batches."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from portico.contracts import COST
from portico.errors import StorageError
from portico.identity.principal import Principal
from portico.services.detection.assembly import Assembly
from portico.services.detection.batch_schemas import Batch, BatchDetected
from portico.services.detection.cached import bypasses
from portico.services.detection.callers import User
from portico.services.problems import Refused, request_id
from portico.telemetry import logs

Result = TypeVar("Result")


def add(router: APIRouter, assembly: Assembly) -> None:
    """Add the route to `router`."""

    @router.post("/api/v1/detect/batch", summary="Judge up to 100 texts at once")
    async def batch(request: Request, response: Response, caller: User, body: Batch) -> BatchDetected:
        response.headers[COST] = str(len(body.requests))
        fresh = bypasses(request.headers.getlist("cache-control"))
        return await _while_connected(request, _answer(assembly, caller, request_id(request), body, fresh))


async def _answer(assembly: Assembly, caller: Principal, asked: str, body: Batch, fresh: bool) -> BatchDetected:
    await assembly.telling.check(body.webhook_url)
    found = await assembly.batches.run(caller, asked, body.requests, fresh)
    try:
        await assembly.telling.batch(caller, body.webhook_url, found.model_dump(mode="json"))
    except StorageError as error:
        if body.webhook_url is not None:
            raise
        # The caller has the answer; registered webhooks are not told of it.
        logs.get("portico.detection").warning("webhooks can't be told of a batch", cause=str(error))
    return found


async def _while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Its result. When the client leaves it is cancelled: nobody would read the answer, nor have it counted."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refused(503, "", "the client has left")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
