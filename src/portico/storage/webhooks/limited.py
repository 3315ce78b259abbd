"""Endpoints that are told of requests that limits have refused: no more often than once in a while, and none is lost.

What is refused in between is added up in the endpoints' rows, and told the next time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.ids import is_id, now
from portico.storage.tables import EndpointRow, KeyRow
from portico.storage.webhooks.records import REGISTERED

CHUNK: Final = 500  # names looked up at a time

Owner = tuple[str, str]  # tenant and owner


@dataclass(frozen=True, slots=True)
class Owed:
    """An owner that is to be told now: of so many refused requests `since` it was told last; None: never before."""

    tenant: str
    owner: str
    count: int
    since: datetime | None


async def owners(session: AsyncSession, callers: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Whom the webhooks of callers (kind, id) belong to: keys that replaced one another are one owner."""
    wanted = set(callers)
    keys = sorted(id_ for kind, id_ in wanted if kind == "key" and is_id(id_))
    families: dict[str, str | None] = {}
    for first in range(0, len(keys), CHUNK):
        some = select(KeyRow.id, KeyRow.family).where(KeyRow.id.in_(keys[first : first + CHUNK]))
        families.update((row.id, row.family) for row in await session.execute(some))
    return {(kind, id_): f"{kind}:{(kind == 'key' and families.get(id_)) or id_}" for kind, id_ in wanted}


async def owed(session: AsyncSession, refused: Mapping[Owner, int], event: str, pause: timedelta) -> list[Owed]:
    """Note that so many requests of these owners were refused; those with an endpoint that is to be told of it now.

    An owner is told when an endpoint of its own wants the event, and none has been told within `pause`.
    """
    found: dict[Owner, list[EndpointRow]] = {}
    names = sorted({owner for _, owner in refused})
    for first in range(0, len(names), CHUNK):
        wanted = select(EndpointRow).where(
            EndpointRow.tenant_id.in_({tenant for tenant, _ in refused}),
            EndpointRow.owner.in_(names[first : first + CHUNK]),
            EndpointRow.kind == REGISTERED,
            EndpointRow.deleted_at.is_(None),
            EndpointRow.disabled_at.is_(None),
        )
        for row in await session.scalars(wanted.order_by(EndpointRow.id).with_for_update()):
            if event in row.events and (row.tenant_id, row.owner) in refused:
                found.setdefault((row.tenant_id, row.owner), []).append(row)
    moment = now()
    due = [_noted(*owner, rows, refused[owner], moment, pause) for owner, rows in found.items()]
    return [each for each in due if each is not None]


def _noted(
    tenant: str, owner: str, rows: list[EndpointRow], count: int, moment: datetime, pause: timedelta
) -> Owed | None:
    since = max((row.limited_at for row in rows if row.limited_at is not None), default=None)
    total = max(row.limited for row in rows) + count
    told = since is None or moment - since >= pause
    for row in rows:
        row.limited = 0 if told else total
        row.limited_at = moment if told else since
    return Owed(tenant, owner, total, since) if told else None
