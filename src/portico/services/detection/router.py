"""The routes of `detection`."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request

from portico.services import inputs, lean
from portico.services.detection import answers, batch_router, jobs_router
from portico.services.detection.assembly import Assembly
from portico.services.detection.cached import bypasses
from portico.services.detection.callers import User
from portico.services.detection.judging import Question
from portico.services.detection.schemas import Detect, Detected
from portico.services.problems import request_id


def build(assembly: Assembly) -> APIRouter:
    """A router over `assembly`."""
    router = inputs.router("detection", inputs.TextRoute)

    async def detect(request: Request, caller: User, body: Detect) -> Detected:
        began = time.perf_counter()
        asked = request_id(request)
        owner = f"{caller.kind}:{caller.id}"
        fresh = bypasses(request.headers.getlist("cache-control"))
        await assembly.telling.check(body.webhook_url)
        question = Question(body.text, body.config.confidence_threshold, caller.tenant, owner, asked, fresh)
        judged = await assembly.judge.judge(question)
        assembly.verdicts.count(question, judged)
        found = answers.fields(judged, time.perf_counter() - began, body.config.include_reasoning)
        answer = Detected(**found, request_id=asked, metadata=body.metadata)
        if body.webhook_url is not None:
            await assembly.telling.verdict(caller, body.webhook_url, answer.model_dump(mode="json"))
        return answer

    summary = "Whether a text tries to take over a language model"
    lean.add(router, "/api/v1/detect", detect, summary=summary)
    batch_router.add(router, assembly)
    jobs_router.add(router, assembly)
    return router
