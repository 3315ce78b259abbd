"""The feed that tells the edges what changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.unit.storage.kit import Store

from portico.services.auth.feed import Feed


class NoIssuers:
    """Issuers that never change."""

    def on_change(self, _tell: object) -> object:
        return lambda: None


def test_it_stops_also_at_the_moment_of_a_change(tmp_path: Path) -> None:
    with Store("sqlite:///portico.db", tmp_path) as store:

        async def live() -> None:
            for _ in range(5):
                feed = Feed(store.changes, store.sessions, store.people, NoIssuers())  # type: ignore[arg-type]
                await feed.start(asyncio.Event())
                while not feed._changed._waiters:  # type: ignore[attr-defined]  # until it waits for a change
                    await asyncio.sleep(0.005)
                feed._changed.set()
                async with asyncio.timeout(10):
                    await feed.stop()

        store.run(live())
