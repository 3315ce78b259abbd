"""A million keys: opening and reading every prefix stays short, and finding one takes as long as among a few."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

import pytest
from sqlalchemy import insert
from tests.unit.storage.kit import Store

from portico.storage.accounts import NewKey
from portico.storage.ids import now, uuid7
from portico.storage.tables import KeyRow

FAST = 3.0  # seconds for opening and all prefixes
AT_ONCE = 20_000


async def fill(store: Store, count: int) -> None:
    """Add keys by the thousand, as `issue` would one by one."""
    moment = now()
    same = {"tenant_id": "default", "owner_id": None, "permissions": ["docs:read"], "networks": [], "name": "key"}
    same |= {
        "per_minute": 60,
        "per_day": 10_000,
        "window": "",
        "rate": "",
        "burst": 0,
        "quota": "",
        "hint": "pk_0000000",
    }
    same |= {"created_at": moment, "expires_at": None, "revoked_at": None, "last_used_at": None, "replaces": None}
    for _ in range(0, count, AT_ONCE):
        rows = [{**same, "id": uuid7(), "sha256": secrets.token_bytes(32)} for _ in range(min(AT_ONCE, count))]
        async with store.db.write() as session:
            await session.execute(insert(KeyRow), rows)


def found_in(store: Store, digest: bytes) -> float:
    """The median time of finding one key, in seconds."""

    async def work() -> float:
        took = []
        for _ in range(60):
            before = time.perf_counter()
            assert await store.keys.find(digest) is not None
            took.append(time.perf_counter() - before)
        return sorted(took)[len(took) // 2]

    return store.run(work())


@pytest.mark.parametrize("count", [40_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_many_keys(database_url: str, tmp_path: Path, count: int) -> None:
    with Store(database_url, tmp_path) as store:
        record, _ = store.run(store.keys.issue(NewKey("one")))
        few = found_in(store, record.sha256)
        store.run(fill(store, count))
    with Store(database_url, tmp_path) as store:
        store.run(store.db.close())
        before = time.perf_counter()
        store.run(store.db.open())
        prefixes = store.run(store.keys.prefixes())
        took = time.perf_counter() - before
        many = found_in(store, record.sha256)
        assert len(prefixes) == 8 * (count + 1)
        assert prefixes[:8] <= prefixes[8:16] <= prefixes[-8:]
        assert record.sha256[:8] in (prefixes[at : at + 8] for at in range(0, len(prefixes), 8))
        assert took < FAST, f"{took:.2f} s"
        assert many < 4 * few + 0.002, f"{few * 1000:.2f} ms, then {many * 1000:.2f} ms"
        print(f"{count} keys on {store.db.dialect}: open and prefixes {took:.2f} s, find {many * 1000:.2f} ms")


def test_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    with Store("sqlite:///portico.db", tmp_path) as store:
        store.run(fill(store, 40_000))

        async def work() -> float:
            longest, task = 0.0, asyncio.create_task(store.keys.prefixes())
            while not task.done():
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                longest = max(longest, time.perf_counter() - before)
            return longest

        assert store.run(work()) < 0.5
