"""Finding records: by who, what, on what, when, with which result; newest first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, or_, select

from portico.storage.accounts import rules
from portico.storage.tables import AuditRow

if TYPE_CHECKING:
    from portico.storage.database import Database


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a record must be; "" and None ask nothing. `action`: one (keys.create), or all of a noun (keys).

    `since` is the first moment, `until` the first that is too late. `tenant` None: every tenant's and nobody's.
    """

    since: datetime | None = None
    until: datetime | None = None
    actor: str = ""
    action: str = ""
    object: str = ""
    result: str = ""
    request_id: str = ""
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A record as people read it."""

    id: str
    at: datetime
    tenant: str
    actor_kind: str
    actor: str
    action: str
    object_kind: str
    object: str
    source: str
    result: str
    code: str
    request_id: str
    detail: dict[str, Any]
    writer: str
    sequence: int


async def find(
    db: Database, wanted: Wanted, after: str | None = None, limit: int = rules.PAGE
) -> tuple[list[Shown], str | None]:
    """A page of records, newest first, and the cursor of the next, which are older."""
    limit = rules.page(after, limit)
    asked = _asked(wanted).order_by(AuditRow.id.desc()).limit(limit + 1)
    if after is not None:
        asked = asked.where(AuditRow.id < after)
    async with db.read() as session:
        rows = (await session.scalars(asked)).all()
    return [_shown(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None


def _asked(wanted: Wanted) -> Select[AuditRow]:
    asked = select(AuditRow)
    if wanted.since is not None:
        asked = asked.where(AuditRow.at >= wanted.since)
    if wanted.until is not None:
        asked = asked.where(AuditRow.at < wanted.until)
    if wanted.action:
        noun = AuditRow.action.startswith(wanted.action + ".", autoescape=True)
        asked = asked.where(or_(AuditRow.action == wanted.action, noun))
    for column, value in (
        (AuditRow.actor_id, wanted.actor),
        (AuditRow.object_id, wanted.object),
        (AuditRow.result, wanted.result),
        (AuditRow.request_id, wanted.request_id),
    ):
        if value:
            asked = asked.where(column == value)
    return asked if wanted.tenant is None else asked.where(AuditRow.tenant_id == wanted.tenant)


def _shown(row: AuditRow) -> Shown:
    return Shown(
        row.id,
        row.at,
        row.tenant_id,
        row.actor_kind,
        row.actor_id,
        row.action,
        row.object_kind,
        row.object_id,
        row.source,
        row.result,
        row.code,
        row.request_id,
        json.loads(row.detail),
        row.writer,
        row.sequence,
    )
