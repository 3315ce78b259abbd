"""Emits webhooks as a service of the gateway would: in a transaction on its database, from another process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import text
from tests.e2e.api import Api

from portico.jobs.handler import Handler, Handlers
from portico.jobs.jobs import Jobs
from portico.jobs.wake import Wake
from portico.outbound import Client
from portico.services.webhooks.assembly import QUEUE
from portico.services.webhooks.emitter import KIND, Emitter
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database
from portico.storage.webhooks import Deliveries, Endpoints, Secrets


class Outside:
    """What is needed of a gateway to emit; `url` is its `storage.url`."""

    def __init__(self, api: Api, url: str = "sqlite:///portico.db") -> None:
        folder = api.gateway.data_dir
        self.runner = asyncio.Runner()
        self.vault = Vault.open(folder, None)
        self.db = Database(url, folder, self.vault.key("database"))
        self.secrets = Secrets(self.vault)
        self.endpoints = Endpoints(self.db, self.secrets)
        deliveries = Deliveries(self.db, self.endpoints, self.secrets)
        handlers = Handlers()
        handlers.add([Handler(KIND, _nobody, QUEUE)], "webhooks")
        self.emitter = Emitter(Client(), self.endpoints, deliveries, Jobs(self.db, handlers, Wake(self.db)))

    def emit(self, key: str, count: int = 1, event: str = "detection_complete", **data: Any) -> list[str]:
        """Tell the owner of the key with this id `count` times, in one transaction."""

        async def work() -> list[str]:
            owner = await self.endpoints.owner("key", key)
            made: list[str] = []
            async with self.db.write() as session:
                for number in range(count):
                    more = {"number": number, **data}
                    made += await self.emitter.emit(session, "default", owner, event, more)
            return made

        return self.runner.run(work())

    def send_to(self, key: str, url: str, **data: Any) -> str:
        """Tell a URL that a request of the key has named."""

        async def work() -> list[str]:
            owner = await self.endpoints.owner("key", key)
            async with self.db.write() as session:
                return await self.emitter.send_to(session, "default", owner, url, "detection_complete", data)

        return self.runner.run(work())[0]

    def execute(self, statement: str, **values: Any) -> list[Any]:
        """One statement in a transaction of its own."""

        async def work() -> list[Any]:
            async with self.db.write() as session:
                found = await session.execute(text(statement), values)
                return list(found.all()) if found.returns_rows else []  # type: ignore[attr-defined]

        return self.runner.run(work())


async def _nobody(_: Any) -> None:
    raise AssertionError("jobs are the gateway's to run")


@contextlib.contextmanager
def outside(api: Api, url: str = "sqlite:///portico.db") -> Iterator[Outside]:
    """The database of a running gateway, opened once more."""
    made = Outside(api, url)
    made.runner.run(open_database(made.vault, made.db))
    try:
        yield made
    finally:
        made.runner.run(made.db.close())
        made.runner.close()
