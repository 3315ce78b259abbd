"""All that works on jobs in one process: the worker, the schedules, upkeep."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from datetime import timedelta
from typing import Final

from portico import contracts
from portico.config.jobs import CELERY
from portico.errors import StorageError
from portico.jobs.attempts import Attempts
from portico.jobs.clockwork import Clockwork
from portico.jobs.cpu import Processes
from portico.jobs.dispatcher import Dispatcher
from portico.jobs.handler import Handlers
from portico.jobs.inbox import Inbox, MessageWorker
from portico.jobs.jobs import Jobs
from portico.jobs.meter import Meter
from portico.jobs.peers import Peers
from portico.jobs.sender import Sender
from portico.jobs.sums import Sums
from portico.jobs.wake import Wake
from portico.jobs.worker import Worker
from portico.storage.database import Database
from portico.storage.ids import now
from portico.telemetry import logs
from portico.telemetry.counts import Counts
from portico.telemetry.tracing.process import Tracing

CONCURRENCY: Final = 10  # of a queue that the configuration does not name
PATIENCE: Final = 5.0  # seconds that jobs have to end when the process stops
UPKEEP: Final = 600.0  # seconds
MEASURE: Final = 10.0  # seconds
BATCH: Final = 5000  # ended jobs removed at a time


class Crew:
    """Works from `start` to `stop`. Start it once `handlers` has all of them.

    With the executor celery it runs no jobs but sends their ids to the broker; the process that has an `inbox` is told
    them by Celery, and runs them.
    """

    def __init__(
        self,
        db: Database,
        jobs: Jobs,
        handlers: Handlers,
        wake: Wake,
        settings: contracts.Jobs,
        counts: Counts | None = None,
        inbox: Inbox | None = None,
        traces: Tracing | None = None,
    ) -> None:
        self.processes = Processes(max(1, (os.cpu_count() or 1) // 2))
        self._db = db
        self._jobs = jobs
        self._meter = Meter(counts)
        self._counts = counts
        self._sums = Sums(db)
        self._keep = timedelta(seconds=settings.keep)
        named = {queue.name: queue.concurrency for queue in settings.concurrency}
        lanes = {queue: named.get(queue, CONCURRENCY) for queue in {*handlers.queues(), *named}}
        attempts = Attempts(db, handlers, self.processes, traces)
        self.worker: Worker | Dispatcher
        if inbox is not None:
            self.worker = inbox.worker = MessageWorker(db, wake, attempts, settings.lease, self._meter)
            inbox.queues = lanes
        elif settings.executor == CELERY:
            self.worker = Dispatcher(db, wake, Sender(settings.broker), lanes, settings.lease)
        else:
            self.worker = Worker(db, wake, attempts, lanes, settings.lease, self._meter)
        self.clockwork = Clockwork(db, jobs)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self.worker.start()
        self.clockwork.start()
        self._tasks = [asyncio.create_task(each) for each in (self._keep_up(), self._measure())]

    async def stop(self, patience: float = PATIENCE) -> None:
        """Let what runs end for `patience` seconds, then put it back. May be called twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.clockwork.stop()
        await self.worker.stop(patience)
        await self.processes.stop()
        with suppress(StorageError):
            await self._share()

    async def _keep_up(self) -> None:
        peers = Peers(self._db)
        while True:
            await asyncio.sleep(UPKEEP)
            try:
                await peers.tidy()
                while await self._jobs.prune(now() - self._keep, BATCH) == BATCH:
                    pass  # in small transactions, between which others write
            except StorageError as error:
                logs.get("portico.jobs").warning("upkeep of jobs put off", cause=str(error))

    async def _measure(self) -> None:
        while True:
            try:
                await self._meter.measure(self._jobs)
                await self._share()
            except StorageError as error:
                logs.get("portico.jobs").debug("jobs can't be counted", cause=str(error))
            await asyncio.sleep(MEASURE)

    async def _share(self) -> None:
        """Tell the database what a worker has counted; have the services know what all workers told."""
        if self._counts is None:
            return
        if self._counts.apart:
            await self._sums.tell(self._counts)
        else:
            self._counts.elsewhere(await self._sums.all())
