"""Webhooks of detection: who is told, and of what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from portico.identity.principal import Principal
from portico.services.events import BATCH_COMPLETE, DETECTION_COMPLETE, Webhooks
from portico.storage.database import Database
from portico.storage.group import Group

KNOWN: Final = 10_000  # callers whose owner is remembered: it never changes
ROOM: Final = 200 * 1024  # bytes of a batch's data in a webhook; beyond, its results come without their reasons


@dataclass(frozen=True, slots=True)
class Message:
    """An event of an owner: for the URL that the request has named, if it has, and with `all` for registered ones."""

    tenant: str
    owner: str
    event: str
    data: dict[str, Any]
    url: str | None
    all: bool

    @property
    def order(self) -> tuple[str, str, str, str]:
        """Those who write many at once do it in this order, so that no two wait for one another."""
        return self.tenant, self.owner, self.event, self.url or ""


class Telling:
    """Queues webhooks of verdicts."""

    def __init__(self, db: Database, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self._owners: dict[tuple[str, str], str] = {}
        self._alone: Group[AsyncSession, Message, None] = Group(db.write, self._commit)

    async def owner(self, caller: Principal) -> str:
        """Whose jobs and webhooks a caller has: keys that replaced one another are one owner."""
        who = caller.kind, caller.id
        found = self._owners.get(who)
        if found is None:
            found = await self._webhooks.owner(caller)
            if len(self._owners) >= KNOWN:
                self._owners.clear()
            self._owners[who] = found
        return found

    async def check(self, url: str | None) -> None:
        """Refused (422) when a URL of a request can't be called."""
        if url is not None:
            await self._webhooks.check(url)

    async def verdict(self, caller: Principal, url: str, result: dict[str, Any]) -> None:
        """Tell the URL a verdict that was answered at once."""
        data = {"job_id": None, "result": result}
        await self._alone.add(Message(caller.tenant, await self.owner(caller), DETECTION_COMPLETE, data, url, False))

    async def batch(self, caller: Principal, url: str | None, data: dict[str, Any]) -> None:
        """Tell the URL, if there is one, and registered endpoints that a batch is done."""
        await self._alone.add(
            Message(caller.tenant, await self.owner(caller), BATCH_COMPLETE, _fitting(data), url, True)
        )

    async def write(self, session: AsyncSession, messages: Sequence[Message]) -> None:
        """Queue them all in somebody's transaction."""
        ordered = sorted(messages, key=lambda each: each.order)
        for whose, some in groupby(ordered, lambda each: (each.tenant, each.owner, each.event)):
            mine = list(some)
            data = [message.data for message in mine if message.all]
            if data:
                await self._webhooks.emit_many(session, *whose, data)
            for message in mine:
                if message.url is not None:
                    await self._webhooks.send_to(session, *whose[:2], message.url, message.event, message.data)

    async def _commit(self, session: AsyncSession, messages: Sequence[Message]) -> Sequence[None]:
        await self.write(session, messages)
        return [None] * len(messages)


def _fitting(data: dict[str, Any]) -> dict[str, Any]:
    """A batch's data, without its reasons where they take too much room."""
    if len(json.dumps(data, ensure_ascii=False).encode()) <= ROOM:
        return data
    return {**data, "results": [{**each, "reason": ""} for each in data["results"]]}
