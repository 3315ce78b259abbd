"""Queues webhooks in the transactions of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from portico.config import units
from portico.errors import OutboundError
from portico.identity.principal import Principal
from portico.jobs.jobs import Jobs, New
from portico.outbound import Client
from portico.services.events import RATE_LIMIT_EXCEEDED, Limited
from portico.services.problems import Refused
from portico.services.views import moment
from portico.services.webhooks.courier import payload
from portico.services.webhooks.schedule import RETRIES
from portico.storage.webhooks import Deliveries, Endpoints, limited
from portico.storage.webhooks.deliveries import Wake

KIND: Final = "webhooks.deliver"
LONGEST: Final = 2048  # characters of a URL
PAUSE: Final = timedelta(minutes=1)  # between two events about limits for one owner


class Emitter:
    """What the container has as `portico.services.events.Webhooks`."""

    def __init__(self, client: Client, endpoints: Endpoints, deliveries: Deliveries, jobs: Jobs) -> None:
        self._client = client
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._jobs = jobs

    async def owner(self, principal: Principal) -> str:
        """Whose webhooks a caller has: keys that replaced one another are one owner."""
        return await self._endpoints.owner(principal.kind, principal.id)

    async def check(self, url: str) -> None:
        """Refused (422) when the URL can't be called as things are now."""
        hint = "give an http or https URL that leads to a public address"
        if len(url) > LONGEST:
            raise Refused(422, "webhook_url_refused", f"the URL has more than {LONGEST} characters", hint)
        try:
            await self._client.check(url)
        except OutboundError as error:
            raise Refused(422, "webhook_url_refused", str(error), hint) from None

    async def emit(self, session: AsyncSession, tenant: str, owner: str, event: str, data: dict[str, Any]) -> list[str]:
        """Tell every endpoint of the owner that wants this event."""
        return await self.emit_many(session, tenant, owner, event, [data])

    async def emit_many(
        self, session: AsyncSession, tenant: str, owner: str, event: str, data: Sequence[dict[str, Any]]
    ) -> list[str]:
        """Tell every endpoint of the owner that wants this event, as often as there are data."""
        bodies = (payload(event, each) for each in data)
        made, wakes = await self._deliveries.add(session, tenant, owner, event, bodies)
        await self.wake(session, wakes)
        return made

    async def tell_all(
        self, session: AsyncSession, tenant: str, owner: str, event: str, data: dict[str, Any]
    ) -> list[str]:
        """Tell every endpoint of the owner, whatever events it wants."""
        made, wakes = await self._deliveries.add(session, tenant, owner, event, [payload(event, data)], to_all=True)
        await self.wake(session, wakes)
        return made

    async def send_to(
        self, session: AsyncSession, tenant: str, owner: str, url: str, event: str, data: dict[str, Any]
    ) -> list[str]:
        """Tell one URL, signed with the owner's default secret."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc.lower()}"
        body = payload(event, data)
        made, wakes = await self._deliveries.add_to(session, tenant, owner, url, origin, event, body, RETRIES)
        await self.wake(session, wakes)
        return made

    async def limited(self, session: AsyncSession, refused: Sequence[Limited]) -> None:
        """Tell the callers' endpoints that want RATE_LIMIT_EXCEEDED, each owner once a minute at most."""
        rates = [each for each in refused if _rate(each.limit) is not None]
        whose = await limited.owners(session, {(each.kind, each.id) for each in rates})
        counts: dict[limited.Owner, int] = {}
        most: dict[limited.Owner, Limited] = {}
        for each in rates:
            owner = (each.tenant, whose[each.kind, each.id])
            counts[owner] = counts.get(owner, 0) + each.count
            if owner not in most or each.count > most[owner].count:
                most[owner] = each
        for owed in await limited.owed(session, counts, RATE_LIMIT_EXCEEDED, PAUSE):
            data = _exceeded(most[owed.tenant, owed.owner], owed)
            await self.emit(session, owed.tenant, owed.owner, RATE_LIMIT_EXCEEDED, data)

    async def wake(self, session: AsyncSession, wakes: Iterable[Wake]) -> None:
        """Enqueue the jobs that deliver."""
        news = [
            New(KIND, {"endpoint": wake.endpoint, "wake": wake.token}, tenant=wake.tenant, delay=wake.delay)
            for wake in wakes
        ]
        if news:
            await self._jobs.enqueue_many(session, news)


def _rate(limit: str) -> tuple[int, int] | None:
    """The count and the seconds of a limit such as 600/minute; None: it limits something else, such as concurrency."""
    try:
        count, unit = units.rate(limit)
    except ValueError:
        return None
    return count, units.SECONDS[unit]


def _exceeded(refused: Limited, owed: limited.Owed) -> dict[str, Any]:
    count, seconds = _rate(refused.limit) or (0, 0)
    return {
        "caller": {"kind": refused.kind, "id": refused.id},
        "limit": refused.limit,
        "count": count,
        "window_seconds": seconds,
        "refused": owed.count,
        "since": moment(owed.since) if owed.since is not None else None,
    }
