"""With the executor celery, what the services do in place of running jobs: tell Celery's workers which are queued.

The table stays the only truth. A message is a hint that the job with this id may be claimed: one that is lost is sent
again while the job is queued, and one too many finds nothing to claim. The broker has only the head of each queue, so
that a long backlog stays in the table, and what has a higher priority goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from portico.errors import JobError, StorageError
from portico.jobs import claims, peers
from portico.jobs.sender import MOST, Sender
from portico.jobs.wake import Wake
from portico.storage.database import Database
from portico.telemetry import logs

IDLE: Final = 1.0  # seconds after which the table is looked at, if nobody said anything
BUSY: Final = 0.1  # seconds, while a queue is longer than what is sent of it
BREATH: Final = 0.02  # seconds between two looks at least: what is enqueued one by one is sent together
AGAIN: Final = 1.0  # seconds after the database or the broker could not be used
RESEND: Final = 3  # after this part of a lease the message of a job that is still queued is taken for lost

Queued = tuple[str, int]  # id and fence: a job that comes back after an attempt is another


class Dispatcher:
    """Looks and sends from `start` to `stop`; claims nothing. Takes jobs from dead workers, as every worker does."""

    def __init__(self, db: Database, wake: Wake, sender: Sender, queues: Iterable[str], lease: float) -> None:
        self.name = peers.name()
        self._db = db
        self._wake = wake
        self._sender = sender
        self._sent: dict[str, dict[Queued, float]] = {queue: {} for queue in sorted(queues)}  # → the loop's time
        self._peers = peers.Peers(db)
        self._look = lease / peers.LOOKS
        self._resend = lease / RESEND
        self._event = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._wake.add(self._wakened)
        self._tasks = [asyncio.create_task(each) for each in (self._work(), self._watch())]

    async def stop(self, patience: float) -> None:
        """End; nothing runs here that would need `patience`. May be called twice."""
        if not self._tasks:
            return
        self._wake.remove(self._wakened)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._sender.close()

    def _wakened(self, cancelled: bool) -> None:
        self._event.set()

    async def _work(self) -> None:
        while True:
            self._event.clear()
            try:
                wait = await self._turn()
            except StorageError as error:
                logs.get("portico.jobs").warning("jobs wait for the database", cause=str(error))
                wait = AGAIN
            except JobError as error:
                logs.get("portico.jobs").warning("jobs wait for the broker", cause=str(error))
                wait = AGAIN
            except Exception as error:  # a mistake of our own must not end the work
                logs.get("portico.jobs").error("jobs can't be sent; it goes on", exc_info=error)
                wait = AGAIN
            await asyncio.sleep(BREATH)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._event.wait()

    async def _turn(self) -> float:
        """Send what is to be sent; seconds until the next look, at most."""
        async with self._db.read() as session:
            due = await claims.next_due(session, self._db)
        if due is not None and due <= 0:
            async with self._db.write() as session:
                await claims.promote(session, self._db)
            due = 0.0
        async with self._db.read() as session:
            found = await claims.any_queued(session, self._sent)
            heads = {queue: await claims.head(session, queue, MOST) if found else [] for queue in self._sent}
        for queue, jobs in heads.items():
            await self._send(queue, jobs)
        full = any(len(jobs) == MOST for jobs in heads.values())
        return min(BUSY if full else IDLE, IDLE if due is None else due)

    async def _send(self, queue: str, jobs: list[Queued]) -> None:
        """Send what has not been sent, or long ago, of the head of a queue."""
        before, moment = self._sent[queue], asyncio.get_running_loop().time()
        sent = self._sent[queue] = {job: before[job] for job in jobs if job in before}
        wanted = [job for job in jobs if job not in sent or moment - sent[job] >= self._resend]
        if wanted:
            count = await self._sender.send(queue, [job for job, _ in wanted])
            sent.update(dict.fromkeys(wanted[:count], moment))

    async def _watch(self) -> None:
        """Look whether workers live."""
        while True:
            await asyncio.sleep(self._look)
            try:
                dead = await self._peers.look(self.name)
            except StorageError as error:
                logs.get("portico.jobs").warning("workers can't be watched", cause=str(error))
                continue
            for worker in dead:
                logs.get("portico.jobs").warning("a worker died; its jobs are queued again", worker=worker)
            if dead:
                self._event.set()
