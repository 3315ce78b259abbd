"""The route of `audit`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from portico.identity.principal import Principal
from portico.services import callers, inputs
from portico.services.audit.schemas import RecordView, view
from portico.services.callers import needs
from portico.services.problems import Refused
from portico.services.values import Cursor, Limit, Tenant
from portico.services.views import Page
from portico.storage.audit.search import Wanted, find
from portico.storage.database import Database

AUDIT: Final = "/api/v1/admin/audit"
PRINTED: Final = r"^[^\x00-\x1f\x7f]*$"

Reader = Annotated[Principal, Depends(needs("audit:read"))]


def _text(description: str) -> Any:
    return Query(max_length=300, pattern=PRINTED, description=description)


def build(db: Database) -> APIRouter:
    """A router over `db`."""
    router = inputs.router("audit")

    @router.get(AUDIT, summary="What was done and refused, newest first")
    async def audit(
        caller: Reader,
        since: Annotated[datetime | None, Query(alias="from", description="RFC 3339; from this time on")] = None,
        until: Annotated[datetime | None, Query(alias="to", description="RFC 3339; before this time")] = None,
        actor: Annotated[str, _text("Id of who did it")] = "",
        action: Annotated[str, _text("Such as keys.revoke, or keys for all on keys")] = "",
        object: Annotated[str, _text("Id of what it was done on")] = "",  # noqa: A002
        result: Annotated[str, Query(pattern="^(ok|refused)?$")] = "",
        request_id: Annotated[str, _text("In which request")] = "",
        tenant: Tenant = None,
        after: Cursor = None,
        limit: Limit = 50,
    ) -> Page[RecordView]:
        everything = tenant is None and callers.across(caller)
        wanted = Wanted(
            since=_aware(since),
            until=_aware(until),
            actor=actor,
            action=action,
            object=object,
            result=result,
            request_id=request_id,
            tenant=None if everything else callers.scope(caller, tenant),
        )
        found, following = await find(db, wanted, after, limit)
        return Page(items=[view(each) for each in found], next_cursor=following)

    return router


def _aware(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is None:
        return moment and moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Refused(422, "", "a time is beyond what there is in UTC", "name another") from None
