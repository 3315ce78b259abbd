"""What the guards of the edge ask under /_portico/. `Frame` has seen their proof before anything here runs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError

from portico.detection import windows
from portico.identity.tokens import OPERATORS
from portico.services.detection import texts
from portico.services.detection.assembly import Assembly
from portico.services.detection.judging import Judge, Judged, Question
from portico.services.inputs import JsonError
from portico.services.problems import Refused

BASE: Final = "/_portico"
LONG: Final = 32 * 1024  # bytes from which on a body is read in a thread, so that others are answered meanwhile


class Asked(BaseModel):
    """The first line of a question; the rest of its body is what is to be judged."""

    message: Literal["request", "response"]
    form: Literal["json", "text", "events"]
    paths: list[list[str | int | None]]
    threshold: Annotated[float, Field(ge=0, le=1)]
    timeout: Annotated[float, Field(gt=0, le=30)]
    tenant: str
    owner: str
    request_id: str
    carry: dict[str, str] = {}


def build(assembly: Assembly) -> APIRouter:
    """A router over `assembly`."""
    router = APIRouter()

    @router.post(BASE + "/guard")
    async def guard(request: Request) -> dict[str, Any]:
        line, _, payload = (await request.body()).partition(b"\n")
        try:
            asked = Asked.model_validate_json(line)
        except ValidationError:
            raise Refused(400, "", "the question can't be read", "ask as this release does") from None
        try:
            async with asyncio.timeout(asked.timeout):
                return await answered(assembly.judge, asked, payload, request)
        except JsonError as error:
            return {"unreadable": str(error)}
        except TimeoutError:
            raise Refused(503, "", "it took too long to judge", "ask for less at a time") from None

    return router


async def answered(judge: Judge, asked: Asked, payload: bytes, request: Request) -> dict[str, Any]:
    """The verdict, as the edge reads it; JsonError when the body can't be read."""
    carry: dict[str, str] = {}
    if asked.form == "events":
        fresh = texts.of_events(payload)
        told = texts.carried(asked.carry, fresh)
        carry = texts.carry(asked.carry, told)
        found = [text for text in told.values() if text.strip()]
    else:
        joined = await asyncio.to_thread(read, asked, payload) if len(payload) > LONG else read(asked, payload)
        found = [joined] if joined else []
    worst = await judged(judge, asked, found, request)
    if worst is None:
        return {"empty": True, "carry": carry}
    return {
        "malicious": worst.is_malicious,
        "confidence": worst.confidence,
        "threat_types": list(worst.threat_types),
        "carry": carry,
        "engine": worst.engine,
        "degraded": worst.degraded,
        "cache_hit": worst.cache_hit,
    }


def read(asked: Asked, payload: bytes) -> str:
    """All there is to judge in a body; of an answer that is all of it."""
    if asked.form == "text":
        return "\n\n".join(texts.of_text(payload))
    return "\n\n".join(texts.of_json(payload, asked.paths if asked.message == "request" else [[]]))


async def judged(judge: Judge, asked: Asked, found: list[str], request: Request) -> Judged | None:
    """The worst answer about all windows of all texts, or the first that is malicious; None: there is no text."""
    worst: Judged | None = None
    for text in found:
        for _, piece in windows(text):
            if worst is not None and await request.is_disconnected():
                return worst  # nobody waits for it any more
            tenant, owner = asked.tenant or OPERATORS, asked.owner or "anonymous:"
            # What nobody in particular asks is not answered from what a tenant has asked.
            question = Question(piece, asked.threshold, tenant, owner, asked.request_id, fresh=not asked.tenant)
            one = await judge.judge(question)
            if one.unjudged and not one.is_malicious:
                raise Refused(503, "", "no engine judged the text in time", "the route's on_failure says what follows")
            if worst is None or one.confidence > worst.confidence or one.is_malicious:
                worst = one
            if one.is_malicious:
                return one
    return worst
