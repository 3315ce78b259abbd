"""A process that runs jobs on the database of a data directory, for tests that kill it: `python -m … JSON`.

The argument is {"url", "data_dir", "lease", "concurrency"}. `test.effect` enqueues one job of the kind `test.made`
(whose queue nobody works on) as its effect; `test.slow` waits, and says whose claim it was.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from portico import contracts
from portico.jobs import Handler, Handlers, Job, Jobs
from portico.jobs.crew import Crew
from portico.jobs.schedules import Schedules
from portico.jobs.wake import Wake
from portico.storage.database import Database
from portico.storage.vault import Vault


async def opened(told: dict[str, Any]) -> tuple[Database, Jobs, Handlers, Wake]:
    """The database, open, and what works on it."""
    data_dir = Path(told["data_dir"])
    vault = Vault.open(data_dir, None)
    db = Database(told["url"], data_dir, vault.key("database"))
    await db.open()
    handlers = Handlers()
    wake = Wake(db)
    jobs = Jobs(db, handlers, wake)

    async def effect(job: Job) -> None:
        await asyncio.sleep(float(job.payload.get("seconds", 0.0)))
        async with job.effect(finish=True) as session:
            await jobs.enqueue(session, "test.made", {}, owner=job.id, queue="nobody")

    async def slow(job: Job) -> dict[str, Any]:
        await asyncio.sleep(float(job.payload["seconds"]))
        return {"token": job.token}

    handlers.add([Handler("test.effect", effect), Handler("test.slow", slow)], "test")
    return db, jobs, handlers, wake


async def main(told: dict[str, Any]) -> None:
    db, jobs, handlers, wake = await opened(told)
    settings = contracts.Jobs((contracts.Queue("default", told["concurrency"]),), told["lease"])
    crew = Crew(db, jobs, handlers, wake, settings)
    await Schedules(db, jobs).bring([])
    wake.start()
    crew.start()
    print(json.dumps({"worker": crew.worker.name}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
