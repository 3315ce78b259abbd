"""Who takes which kind of record: most are kept, of limits that callers have used up their webhooks are told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from portico.services.events import Limited, Webhooks
from portico.storage.audit import refusals
from portico.storage.usage import rollup, verdicts
from portico.storage.usage.intake import Taker

TAKERS: Final[Mapping[str, Taker]] = {
    "usage": rollup.take,
    "judged": verdicts.take,
    "recent": rollup.take_recent,
    "refused": refusals.take,
}


def takers(recent: int, webhooks: Webhooks | None) -> Mapping[str, Taker]:
    """By kind. `recent` is how many requests are kept in detail; without `webhooks` nobody is told of limits."""

    async def limited(session: AsyncSession, records: list[dict[str, Any]]) -> None:
        if webhooks is not None:
            await webhooks.limited(session, [_limited(row) for record in records for row in record["rows"]])

    return {**TAKERS, "recent": partial(rollup.take_recent, keep=recent), "limited": limited}


def _limited(row: list[Any]) -> Limited:
    _key, principal, kind, tenant, limit, count = row
    return Limited(str(tenant), str(kind), str(principal), str(limit), int(count))
