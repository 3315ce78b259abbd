"""The routes of reviews."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from portico.identity.principal import Principal
from portico.services import callers, inputs
from portico.services.callers import needs
from portico.services.detection.reviews import schemas
from portico.services.detection.reviews.schemas import ReviewDetail, ReviewView, review_detail, review_view
from portico.services.document import refusals
from portico.services.problems import Refused
from portico.services.values import Cursor, Id, Limit, Tenant
from portico.services.views import Page, moment
from portico.storage.detection import AlreadyDecided, Decision, Review, Reviews, Wanted

BASE: Final = "/api/v1/detect/reviews"
TAKEN: Final = refusals({409: "Somebody else has decided otherwise"})
PAGE: Final = 200  # reviews of an export that are in memory at a time

Reader = Annotated[Principal, Depends(needs("reviews:read"))]
Writer = Annotated[Principal, Depends(needs("reviews:write"))]
Why = Annotated[str, Query(pattern=r"^[a-z][a-z0-9_]*$", max_length=64, description="Such as engine_timeout")]


class Lines(StreamingResponse):
    """JSON Lines."""

    media_type = "application/x-ndjson"


def build(reviews: Reviews, *, drop: bool) -> APIRouter:
    """A router over `reviews`; with `drop` a text is removed when it is decided."""
    router = inputs.router("reviews")
    _list(router, reviews)
    _export(router, reviews)  # before {id}, which would take it
    _one(router, reviews, drop)
    return router


def _list(router: APIRouter, reviews: Reviews) -> None:
    @router.get(BASE, summary="Texts for people to judge, oldest first")
    async def waiting(
        caller: Reader,
        tenant: Tenant = None,
        state: schemas.State | None = None,
        decision: schemas.Word | None = None,
        why: Why | None = None,
        after: Cursor = None,
        limit: Limit = 50,
    ) -> Page[ReviewView]:
        wanted = Wanted(callers.scope(caller, tenant), state or "", decision or "", why or "")
        found, following = await reviews.list(wanted, after, limit)
        return Page(items=[review_view(each) for each in found], next_cursor=following)


def _export(router: APIRouter, reviews: Reviews) -> None:
    @router.get(BASE + "/export", response_class=Lines, summary="Texts and decisions as JSON Lines, to train with")
    async def export(
        caller: Reader,
        tenant: Tenant = None,
        state: Annotated[Literal["decided", "waiting", "all"], Query()] = "decided",
        decision: schemas.Word | None = None,
    ) -> Lines:
        scope = callers.scope(caller, tenant)
        wanted = Wanted(scope, "" if state == "all" else state, decision or "")
        await reviews.exported(scope, {"state": state, "decision": decision or ""})
        headers = {"Content-Disposition": 'attachment; filename="reviews.jsonl"', "Cache-Control": "no-store"}
        return Lines(_lines(reviews, wanted), headers=headers)


def _one(router: APIRouter, reviews: Reviews, drop: bool) -> None:
    @router.get(BASE + "/{id}", summary="A text for people to judge, whole")
    async def review(caller: Reader, name: Id) -> ReviewDetail:
        return review_detail(await reviews.get(callers.sight(caller), name))

    @router.post(BASE + "/{id}/decide", responses=TAKEN, summary="Say whether a text is malicious")
    async def decide(caller: Writer, name: Id, body: schemas.Decide) -> ReviewDetail:
        threats = tuple(dict.fromkeys(body.threat_types))
        made = Decision(body.decision, body.note, threats, f"{caller.kind}:{caller.id}")
        try:
            done = await reviews.decide(callers.sight(caller), name, made, overrule=body.overrule, drop=drop)
        except AlreadyDecided as error:
            raise _taken(error.review) from None
        return review_detail(done)


def _taken(review: Review) -> Refused:
    when = "" if review.decided_at is None else moment(review.decided_at)
    detail = f"{review.decided_by} has decided that it is {review.decision}, at {when}"
    return Refused(409, "already_decided", detail, 'talk to them, or send "overrule": true')


async def _lines(reviews: Reviews, wanted: Wanted) -> AsyncIterator[str]:
    """A page at a time, so that no session is held while a client reads slowly."""
    after: str | None = None
    while True:
        found, after = await reviews.list(wanted, after, PAGE)
        for each in found:
            yield schemas.exported(each).model_dump_json() + "\n"
        if after is None:
            return
