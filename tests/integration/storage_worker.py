"""A process with the vault and the database of a data directory, for tests that need several: `python -m … JSON`.

The argument is {"do", "url", "data_dir", …}. What it has done it says on its standard output, a line each, only after
the database has acknowledged it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from portico.storage.accounts import Changes, Keys, NewKey, People
from portico.storage.audit.trail import Trail
from portico.storage.database import Database
from portico.storage.vault import Vault

Job = Callable[[Database, dict[str, Any]], Awaitable[None]]


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


async def write(db: Database, told: dict[str, Any]) -> None:
    """Issue keys without end and say each."""
    keys = Keys(db)
    while True:
        record, key = await keys.issue(NewKey(told.get("name", "key")))
        say(id=record.id, key=key)


async def hammer(db: Database, told: dict[str, Any]) -> None:
    """Two tasks write and four read for some seconds; say how often."""
    keys, until, counts = Keys(db), time.monotonic() + told["seconds"], {"wrote": 0, "read": 0}

    async def writer() -> None:
        while time.monotonic() < until:
            record, _ = await keys.issue(NewKey("hammer"))
            await keys.used({record.id: record.created_at})
            counts["wrote"] += 1

    async def reader() -> None:
        while time.monotonic() < until:
            assert (await keys.list(limit=20))[0] or not counts["wrote"]
            counts["read"] += 1

    await asyncio.gather(writer(), writer(), reader(), reader(), reader(), reader())
    say(**counts)


async def watch(db: Database, told: dict[str, Any]) -> None:
    """Say each change with the time (CLOCK_MONOTONIC) at which it was noticed."""
    changes, noticed, seen = Changes(db), asyncio.Event(), await Changes(db).latest()
    watching = asyncio.create_task(changes.watch(noticed.set))
    say(ready=True)
    while not watching.done():
        await noticed.wait()
        noticed.clear()
        for each in await changes.since(seen):
            seen = each.number
            say(number=each.number, subject=each.subject, at=time.monotonic())


async def first(db: Database, told: dict[str, Any]) -> None:
    """Be the one who makes the administrator, or not."""
    made = await People(db).first_administrator()
    say(made=made.id if made else None)


async def idle(db: Database, told: dict[str, Any]) -> None:
    """Have it open."""
    say(schema=await db.schema())


JOBS: dict[str, Job] = {"write": write, "hammer": hammer, "watch": watch, "first": first, "idle": idle}


async def main(told: dict[str, Any]) -> None:
    data_dir = Path(told["data_dir"])
    vault = Vault.open(data_dir, None)
    db = Database(told["url"], data_dir, vault.key("database"))
    db.trail = Trail(vault)
    await db.open()
    try:
        await JOBS[told["do"]](db, told)
    finally:
        await db.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
