"""`portico jobs celery`: a worker of Celery, which runs the jobs whose ids its messages carry.

Celery has the main thread and the signals; the plugins live on an event loop in a thread beside it. Each of Celery's
threads waits there for one job, so that `concurrency` holds, and a message is acknowledged when its attempt is over.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from portico import contracts
from portico.config.jobs import CELERY
from portico.errors import JobError, PorticoError
from portico.jobs import celery_app
from portico.jobs.inbox import Inbox
from portico.kernel.order import WORKER
from portico.runtime import paths, secret
from portico.runtime.build import Builder
from portico.runtime.options import UpOptions
from portico.services.generation import Generation
from portico.telemetry import logs
from portico.telemetry.counts import Counts
from portico.telemetry.tracing.process import Tracing


def main(options: UpOptions, queues: Sequence[str], concurrency: int | None) -> int:
    """Run until a signal says otherwise (0), or until the start fails (1).

    No `queues`: all that are not set to 0 in `jobs.concurrency`. No `concurrency`: the sum of theirs.
    """
    passphrase = secret.take(os.environ)
    snapshot = Builder(options).build(1).snapshot
    data_dir = paths.prepare_data_dir(Path(snapshot.data_dir))
    logs.configure(snapshot.log_level, snapshot.log_format, sys.stderr, process=WORKER)
    log = logs.get("portico.runtime")
    beside = Beside(snapshot, contracts.Boot(str(data_dir), passphrase=passphrase))
    try:
        if snapshot.jobs.executor != CELERY:
            raise JobError("jobs.executor is not celery: `portico up --role worker` runs jobs without it")
        app = celery_app.make(snapshot.jobs.broker)
        beside.start()
    except PorticoError as error:
        log.error("the worker can't start", cause=str(error))
        return 1
    try:
        wanted = _wanted(queues, beside.inbox.queues)
        threads = concurrency or max(1, sum(wanted.values()))
        worker = celery_app.worker(app, beside.inbox.run, wanted, threads)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, beside.signalled)
        log.info("the worker of Celery runs jobs", pid=os.getpid(), queues=list(wanted), concurrency=threads)
        worker.start()
    except JobError as error:
        log.error("the worker can't start", cause=str(error))
        return 1
    finally:
        beside.stop()
    log.info("the worker has stopped", pid=os.getpid())
    return int(worker.exitcode or 0)


def _wanted(queues: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    """The queues to work on, and how many jobs at once; JobError when there is no such queue."""
    for queue in queues:
        if queue not in known:
            raise JobError(f"there is no queue {queue!r}; there are: {', '.join(sorted(known))}")
    return {queue: known[queue] for queue in sorted(queues or known) if queues or known[queue]}


class Beside:
    """The plugins, on an event loop in a thread of its own."""

    def __init__(self, snapshot: contracts.Snapshot, boot: contracts.Boot) -> None:
        self.inbox = Inbox()
        self._snapshot = snapshot
        self._boot = boot
        self._ready: Future[None] = Future()
        self._ended = asyncio.Event()  # no more jobs
        self._gone = asyncio.Event()  # none of Celery's threads asks any more
        self._thread = threading.Thread(target=self._run, name="portico-jobs", daemon=True)

    def start(self) -> None:
        """Start the plugins; PorticoError when they can't."""
        self._thread.start()
        self._ready.result()

    def signalled(self, number: int, frame: object) -> None:
        """End: jobs that run get some seconds, and Celery takes no more."""
        celery_app.stop_soon()
        self._tell(self._ended)

    def stop(self) -> None:
        """End and wait for it, once Celery's threads have ended."""
        self._tell(self._ended)
        self._tell(self._gone)
        self._thread.join()

    def _tell(self, event: asyncio.Event) -> None:
        loop = self.inbox.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    def _run(self) -> None:
        import uvloop

        try:
            uvloop.run(self._work())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _work(self) -> None:
        self.inbox.loop = asyncio.get_running_loop()
        traces = Tracing(f"{WORKER}-{os.getpid()}")
        await traces.configure(self._snapshot.tracing)
        generation = await Generation.begin(
            self._snapshot, self._boot, _nobody, Counts(apart=True), WORKER, traces, inbox=self.inbox
        )
        self._ready.set_result(None)
        try:
            await self._ended.wait()
        finally:
            await generation.retire(0.0)
            await self._gone.wait()
            await traces.stop()


async def _nobody(what: str) -> dict[str, Any]:
    raise TimeoutError(f"a worker has no supervisor to ask for {what}")
