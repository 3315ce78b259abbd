"""Jobs by message: a worker that runs those whose ids it is told, and the way for other threads to tell it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from portico.jobs import claims
from portico.jobs.attempts import Attempts
from portico.jobs.claims import Claim
from portico.jobs.lanes import Lane, Running
from portico.jobs.meter import Meter
from portico.jobs.wake import Wake
from portico.jobs.worker import Worker
from portico.storage.database import Database
from portico.storage.ids import is_id

ALL: Final = ""  # its one lane; whoever tells it of jobs sees to how many there are at once


class MessageWorker(Worker):
    """A worker that claims the jobs that it is told of, and no others."""

    def __init__(self, db: Database, wake: Wake, attempts: Attempts, lease: float, meter: Meter | None = None) -> None:
        super().__init__(db, wake, attempts, {ALL: sys.maxsize}, lease, meter)
        self._told: dict[str, asyncio.Future[None]] = {}  # done when the attempt is over, or there is none
        self._asked: dict[str, None] = {}  # to be claimed, in order
        self._tried: tuple[str, ...] = ()  # of those, what the present turn claims

    async def work(self, job: str) -> bool:
        """Claim a job and run it, until the attempt is over; at once when it is not to be had. False: it stops."""
        if self._stopping:
            return False
        if not is_id(job) or job in self._told:
            return True
        over = self._told[job] = asyncio.get_running_loop().create_future()
        self._asked[job] = None
        self._event.set()
        await over
        return True

    async def stop(self, patience: float) -> None:
        """As of every worker; then nobody waits for a job any more."""
        await super().stop(patience)
        self._asked.clear()
        for job in tuple(self._told):
            self._over(job)

    def _over(self, job: str) -> None:
        over = self._told.pop(job, None)
        if over is not None and not over.done():
            over.set_result(None)

    def _wants(self) -> dict[str, int]:
        self._maybe = self._maybe or bool(self._asked)
        return {ALL: len(self._asked)}

    async def _take(self, session: AsyncSession, queue: str, most: int) -> list[Claim]:
        self._tried = tuple(self._asked)
        return await claims.take_these(session, self.name, self._tried)

    def _took(self, lane: Lane, found: list[Claim], wanted: int) -> None:
        lane.waiting.extend(found)
        claimed = {claim.id for claim in found}
        for job in self._tried:
            self._asked.pop(job, None)
            if job not in claimed:
                self._over(job)

    async def _run(self, lane: Lane, running: Running) -> None:
        try:
            await super()._run(lane, running)
        finally:
            self._over(running.job.id)

    async def _rest(self) -> None:
        if not self._asked:
            await self._event.wait()


class Inbox:
    """How Celery's threads reach the worker of the event loop."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.worker: MessageWorker | None = None
        self.queues: Mapping[str, int] = {}  # of the jobs that there are handlers for → how many at once

    def run(self, job: str) -> bool:
        """From any other thread: have the job with this id run if it is queued, and wait. False: nobody works here."""
        if self.loop is None or self.worker is None:
            return False
        return asyncio.run_coroutine_threadsafe(self.worker.work(job), self.loop).result()
