"""What callers do with their own webhooks. Nobody sees or touches another's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from portico.identity import webhooks
from portico.identity.principal import Principal
from portico.services.events import TEST
from portico.services.problems import Refused
from portico.services.webhooks.courier import Courier, payload
from portico.services.webhooks.emitter import Emitter
from portico.services.webhooks.schedule import Called, follow
from portico.services.webhooks.schemas import NewWebhook
from portico.storage.audit import note
from portico.storage.database import Database
from portico.storage.ids import uuid7
from portico.storage.webhooks import Deliveries, Delivery, Due, Endpoint, Endpoints, Results, Secrets
from portico.storage.webhooks.records import PENDING
from portico.telemetry.tracing import traceparent

TESTS: Final = 2  # of one owner at a time
HELLO: Final = {"message": "Webhooks of this gateway arrive here."}


@dataclass(frozen=True, slots=True)
class Hooks:
    """The repositories, and who makes calls."""

    db: Database
    endpoints: Endpoints
    secrets: Secrets
    deliveries: Deliveries
    results: Results
    emitter: Emitter
    courier: Courier
    testing: dict[str, int] = field(default_factory=dict)  # owner → tests that run

    async def register(self, caller: Principal, new: NewWebhook) -> tuple[Endpoint, str]:
        """A new webhook and its secret."""
        secret = webhooks.generate() if new.secret_token is None else _given(new.secret_token)
        await self.emitter.check(new.url)
        owner = await self.emitter.owner(caller)
        events = list(dict.fromkeys(new.events))
        made = await self.endpoints.register(caller.tenant, owner, new.url, events, new.retry_count, secret)
        return made, webhooks.write(secret)

    async def page(self, caller: Principal, after: str | None, limit: int) -> tuple[list[Endpoint], str | None]:
        """A page of the caller's webhooks."""
        return await self.endpoints.list(caller.tenant, await self.emitter.owner(caller), after, limit)

    async def remove(self, caller: Principal, name: str) -> None:
        """Send nothing more to it."""
        await self.endpoints.remove(caller.tenant, await self.emitter.owner(caller), name)

    async def enable(self, caller: Principal, name: str) -> Endpoint:
        """Send to it again that was disabled."""
        return await self.endpoints.enable(caller.tenant, await self.emitter.owner(caller), name)

    async def rotate(self, caller: Principal, name: str, grace: float) -> tuple[str, datetime]:
        """A new secret, and until when the old one signs too."""
        secret = webhooks.generate()
        owner = await self.emitter.owner(caller)
        return webhooks.write(secret), await self.endpoints.rotate(caller.tenant, owner, name, secret, grace)

    async def rotate_default(self, caller: Principal, grace: float) -> tuple[str, datetime]:
        """The same of the default secret, or the first one."""
        secret = webhooks.generate()
        owner = await self.emitter.owner(caller)
        return webhooks.write(secret), await self.endpoints.rotate_default(caller.tenant, owner, secret, grace)

    async def default_since(self, caller: Principal) -> datetime | None:
        """When the default secret was made."""
        return await self.endpoints.default_since(caller.tenant, await self.emitter.owner(caller))

    async def history(
        self, caller: Principal, name: str, after: str | None, limit: int
    ) -> tuple[list[Delivery], str | None]:
        """A page of a webhook's deliveries, newest first."""
        owner = await self.emitter.owner(caller)
        return await self.deliveries.page(caller.tenant, owner, name, after, limit)

    async def replay(self, caller: Principal, name: str) -> None:
        """Send a delivery again that has ended, with the schedule from its beginning."""
        owner = await self.emitter.owner(caller)
        async with self.db.write() as session:
            state, wakes = await self.deliveries.again(session, caller.tenant, owner, name)
            await self.emitter.wake(session, wakes)
        if state == PENDING:
            raise Refused(409, "webhook_pending", "the delivery is still being tried", "wait until it has ended")
        if not wakes and state not in ("succeeded", "failed"):
            detail = f"the webhook is disabled: {state}"
            raise Refused(409, "webhook_disabled", detail, "enable it first: POST /webhooks/{id}/enable")

    async def test_url(self, caller: Principal, url: str) -> Called:
        """Call a URL once, signed with the default secret."""
        await self.emitter.check(url)
        owner = await self.emitter.owner(caller)
        with self._seat(owner):
            async with self.db.write() as session:
                await self.secrets.default(session, caller.tenant, owner)
                await session.flush()
                note(session, "webhooks.test", ("host", urlsplit(url).hostname or ""), tenant=caller.tenant)
                secrets = await self.secrets.signing(session, caller.tenant, owner, None)
            return await self.courier.call(url, uuid7(), payload(TEST, HELLO), secrets, traceparent())

    async def test(self, caller: Principal, name: str) -> tuple[str, Called]:
        """Call a webhook once, and keep it with its deliveries; the delivery's id."""
        owner = await self.emitter.owner(caller)
        endpoint = await self.endpoints.get(caller.tenant, owner, name)
        body = payload(TEST, HELLO)
        with self._seat(owner):
            async with self.db.write() as session:
                made = await self.deliveries.tested(session, caller.tenant, owner, name, TEST, body)
                secrets = await self.secrets.signing(session, caller.tenant, owner, name)
            called = await self.courier.call(endpoint.url, made, body, secrets, traceparent())
            due = Due(made, TEST, "", body, 0, 0)
            async with self.db.write() as session:
                await self.results.write(session, name, [follow(called, due, (), 0, 0.0, last=True)])
        return made, called

    @contextmanager
    def _seat(self, owner: str) -> Iterator[None]:
        """A place for one test; without, anyone could hold all of the services' calls."""
        if self.testing.get(owner, 0) >= TESTS:
            detail = f"{TESTS} tests of this caller are running"
            raise Refused(429, "webhook_tests_running", detail, "wait for one to end", {"Retry-After": "10"})
        self.testing[owner] = self.testing.get(owner, 0) + 1
        try:
            yield
        finally:
            self.testing[owner] -= 1
            if not self.testing[owner]:
                del self.testing[owner]


def _given(text: str) -> bytes:
    try:
        return webhooks.read(text)
    except ValueError as error:
        raise Refused(422, "invalid_request", f"secret_token {error}", "leave it out, and one is made") from None
