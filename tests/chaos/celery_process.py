"""`python -m tests.chaos.celery_process JSON`: one half of jobs by Celery, for tests that kill it.

The argument is {"url", "data_dir", "lease", "concurrency", "broker", "half"}: the half "services" sends ids, "worker"
is a worker of Celery. Both have the handlers of `tests.chaos.jobs_process`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

from tests.chaos.jobs_process import opened

from portico import contracts
from portico.jobs import celery_app
from portico.jobs.crew import Crew
from portico.jobs.inbox import Inbox


async def begin(told: dict[str, Any], inbox: Inbox | None) -> None:
    db, jobs, handlers, wake = await opened(told)
    queues = (contracts.Queue("default", told["concurrency"]),)
    settings = contracts.Jobs(queues, told["lease"], executor="celery", broker=told["broker"])
    crew = Crew(db, jobs, handlers, wake, settings, inbox=inbox)
    if inbox is not None:
        inbox.loop = asyncio.get_running_loop()
    wake.start()
    crew.start()
    print(json.dumps({"worker": crew.worker.name}), flush=True)


def main(told: dict[str, Any]) -> None:
    if told["half"] == "services":
        asyncio.run(_for_ever(told, None))
        return
    inbox = Inbox()
    threading.Thread(target=lambda: asyncio.run(_for_ever(told, inbox)), daemon=True).start()
    celery_app.worker(celery_app.make(told["broker"]), inbox.run, ["default"], told["concurrency"]).start()


async def _for_ever(told: dict[str, Any], inbox: Inbox | None) -> None:
    await begin(told, inbox)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
