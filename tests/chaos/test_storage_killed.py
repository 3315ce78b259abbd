"""kill -9 at any moment: what was acknowledged is there, and the database opens without help."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.storage_processes import Worker, wait_until
from tests.unit.storage.kit import Store

from portico.identity import apikeys


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_what_was_acknowledged_survives_every_kill(tmp_path: Path, kills: int) -> None:
    url = "sqlite:///portico.db"
    chance = random.Random(kills)
    Store(url, tmp_path)  # the vault
    said: list[dict[str, Any]] = []
    with contextlib.ExitStack() as workers:
        running = [workers.enter_context(Worker("write", url, tmp_path))]
        for _ in range(kills):
            # The next one is on its way while this one writes, so that some kills hit an opening, and all a rival.
            running.append(workers.enter_context(Worker("write", url, tmp_path)))
            victim = running.pop(0)
            said.append(victim.line())
            time.sleep(chance.uniform(0, 0.2))  # the moment of the kill is the chance that this test takes
            said += victim.kill()
        said.append(running[0].line())
        said += running[0].kill()
    assert len(said) > kills
    with Store(url, tmp_path) as store:
        digests = {apikeys.digest(each["key"].encode()) for each in said}
        assert len(digests) == len(said)
        kept = {bytes(row[0]) for row in store.execute("SELECT sha256 FROM api_keys")}
        assert digests <= kept
        # A writer that was killed between its commit and its word has written one more; each with its change, or not.
        assert len(kept) - len(digests) <= kills + 1
        assert store.execute("SELECT count(*) FROM changes") == [(len(kept),)]
        assert store.run(_integrity(store)) == [("ok",)]


def test_postgresql_keeps_what_was_acknowledged_too(postgres_url: str, tmp_path: Path) -> None:
    store = Store(postgres_url, tmp_path)
    store.run(store.db.upgrade())
    said: list[dict[str, Any]] = []
    for _ in range(2):
        with Worker("write", postgres_url, tmp_path) as writer:
            said.append(writer.line())
            said += writer.kill()
    with store:
        kept = {bytes(row[0]) for row in store.execute("SELECT sha256 FROM api_keys")}
        assert {apikeys.digest(each["key"].encode()) for each in said} <= kept


def test_a_first_start_that_is_killed_can_be_done_again(tmp_path: Path) -> None:
    """Killed at some moment between nothing and an open database; the next start always comes up."""
    # Each gets a little further: the vault, an empty file, its WAL, the tables.
    moments = [
        ("vault.json", 0.0),
        ("portico.db", 0.0),
        ("portico.db-wal", 0.0),
        ("portico.db", 0.03),
        ("portico.db", 0.08),
    ]
    for attempt, (name, more) in enumerate(moments):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with Worker("idle", "sqlite:///portico.db", folder) as worker:
            wait_until(lambda: worker.process.poll() is not None or (folder / name).exists())  # noqa: B023
            time.sleep(more)
            worker.kill()
        with Store("sqlite:///portico.db", folder) as store:
            assert store.run(store.keys.list()) == ([], None)


async def _integrity(store: Store) -> list[Any]:
    from sqlalchemy import text

    async with store.db.read() as session:
        assert (await session.execute(text("PRAGMA cipher_integrity_check"))).all() == []
        return [tuple(row) for row in await session.execute(text("PRAGMA integrity_check"))]


def test_killed_while_another_waits_for_its_turn(tmp_path: Path) -> None:
    """A writer that dies inside a transaction holds nobody up."""
    url = "sqlite:///portico.db"
    with Store(url, tmp_path) as store, Worker("write", url, tmp_path) as writer:
        writer.line()
        before = time.monotonic()

        async def work() -> None:
            for _ in range(20):
                await asyncio.wait_for(store.people.create("", name="robot"), 10)

        store.execute("SELECT 1")
        writer.process.kill()
        store.run(work())
        assert time.monotonic() - before < 10
