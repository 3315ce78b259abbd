"""What `audit` answers."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from portico.services.views import Moment, View
from portico.storage.audit.search import Shown


class Actor(View):
    """Who did it."""

    kind: str = Field(description="key, person, device, anonymous, operator (the command line), or gateway (by itself)")
    id: str


class Thing(View):
    """On what."""

    kind: str
    id: str


class RecordView(View):
    """One record."""

    id: str
    at: Moment
    tenant: str = Field(description="Whose thing it was; empty: nobody's")
    actor: Actor
    action: str
    object: Thing
    source: str = Field(description="The client's address; cli; empty: the gateway itself")
    result: str = Field(description="ok or refused")
    code: str = Field(description="Of a refusal: its error code")
    request_id: str
    detail: dict[str, Any]
    writer: str = Field(description="The chain that the record stands in")
    sequence: int = Field(description="Its number there")


def view(shown: Shown) -> RecordView:
    """The view of a record."""
    return RecordView(
        id=shown.id,
        at=shown.at,
        tenant=shown.tenant,
        actor=Actor(kind=shown.actor_kind, id=shown.actor),
        action=shown.action,
        object=Thing(kind=shown.object_kind, id=shown.object),
        source=shown.source,
        result=shown.result,
        code=shown.code,
        request_id=shown.request_id,
        detail=shown.detail,
        writer=shown.writer,
        sequence=shown.sequence,
    )
