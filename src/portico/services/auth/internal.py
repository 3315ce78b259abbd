"""What the edge asks under /_portico/. `Frame` has seen its proof before anything here runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from portico.services.auth.parts import Parts
from portico.storage.accounts import KeyRecord

BASE: Final = "/_portico"
Epoch = Annotated[float, Field(ge=0, lt=1e11)]


class Question(BaseModel):
    """Which key has this hash."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Used(BaseModel):
    """Key id → when it was last used, seconds since 1970."""

    keys: dict[str, Epoch]


class Stale(BaseModel):
    """The issuer of whom an unknown key was met."""

    issuer: str


class Lines(StreamingResponse):
    """Lines of JSON without end."""

    media_type = "application/x-ndjson"


def build(parts: Parts) -> APIRouter:
    """A router over `parts`."""
    router = APIRouter()

    @router.get(BASE + "/changes")
    async def changes() -> Lines:
        return Lines(parts.feed.stream())

    @router.get(BASE + "/keys/prefixes")
    async def prefixes() -> Response:
        return Response(await parts.keys.prefixes(), media_type="application/octet-stream")

    @router.post(BASE + "/keys")
    async def find(question: Question) -> dict[str, Any]:
        record = await parts.keys.find(bytes.fromhex(question.sha256))
        return {"key": None if record is None else told(record)}

    @router.post(BASE + "/used", status_code=204, response_class=Response)
    async def used(body: Used) -> None:
        latest = datetime.now(UTC).timestamp()
        await parts.keys.used({key: datetime.fromtimestamp(min(at, latest), UTC) for key, at in body.keys.items()})

    @router.post(BASE + "/issuers/refresh", status_code=204, response_class=Response)
    async def refresh(body: Stale) -> None:
        await parts.issuers.refresh(body.issuer)

    return router


def told(record: KeyRecord) -> dict[str, Any]:
    """A key as the edge keeps it."""
    return {
        "id": record.id,
        "family": record.family,
        "name": record.name,
        "tenant": record.tenant,
        "permissions": list(record.permissions),
        "networks": list(record.networks),
        "expires": None if record.expires_at is None else record.expires_at.timestamp(),
        "per_minute": record.per_minute,
        "per_day": record.per_day,
        "window": record.window,
        "rate": record.rate,
        "burst": record.burst,
        "quota": record.quota,
    }
