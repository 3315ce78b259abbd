"""Puts texts for people to judge into the database of a running gateway, as its engines' silence would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import yaml
from sqlalchemy import update
from tests.e2e.api import Api

from portico.storage.database import Database
from portico.storage.detection import Doubt, Reviews, Wanted
from portico.storage.ids import now
from portico.storage.tables import ScheduleRow
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database

MOST = 10_000


def put(api: Api, *texts: str, tenant: str = "default") -> list[str]:
    """The ids of these texts, which wait now."""

    async def work() -> list[str]:
        async with _opened(api) as (db, vault):
            reviews = Reviews(db, vault)
            rest = ("engine_timeout", "main", 0.6, 0.5)
            await reviews.put([Doubt(tenant, "key:somebody", "r-1", each, each, *rest) for each in texts], MOST)
            ids: dict[str | None, str] = {}
            after: str | None = None
            while True:
                page, after = await reviews.list(Wanted(tenant), after, 500)
                ids |= {each.text: each.id for each in page}
                if after is None:
                    return [ids[each] for each in texts]

    return asyncio.run(work())


def run_schedule(api: Api, name: str) -> None:
    """Make a plugin's schedule due now."""

    async def work() -> None:
        async with _opened(api) as (db, _), db.write() as session:
            await session.execute(update(ScheduleRow).where(ScheduleRow.name == name).values(next_at=now()))

    asyncio.run(work())


@asynccontextmanager
async def _opened(api: Api) -> AsyncIterator[tuple[Database, Vault]]:
    """The database of a running gateway, opened once more."""
    folder = api.gateway.data_dir
    config: dict[str, Any] = yaml.safe_load(api.gateway.config_path.read_text()) or {}
    vault = Vault.open(folder, None)
    url = config.get("storage", {}).get("url", "sqlite:///portico.db")
    db = Database(url, folder, vault.key("database"))
    await open_database(vault, db)
    try:
        yield db, vault
    finally:
        await db.close()
