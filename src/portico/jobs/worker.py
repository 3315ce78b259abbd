"""A worker: claims jobs, runs them, writes how they ended. Every process that runs jobs has one.

One loop does all the writing: in one transaction it writes how attempts ended and claims the next, as many as there is
room for. So a thousand small jobs cost a few transactions, also where they come one by one, for it pauses once a queue
is empty; and a single one is begun at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import StorageError
from portico.jobs import claims, finish, peers, watching
from portico.jobs.attempts import CANCEL, LOST, STOP, Attempts
from portico.jobs.claims import Claim
from portico.jobs.finish import Outcome
from portico.jobs.lanes import Lane, Running
from portico.jobs.meter import Meter
from portico.jobs.wake import Wake
from portico.storage.database import Database
from portico.telemetry import logs

IDLE: Final = 1.0  # seconds after which the table is looked at, if nobody said anything
AGAIN: Final = 1.0  # seconds after the database could not be used
PACE: Final = 0.04  # seconds after the last that was queued was claimed: what comes meanwhile is claimed together
TICK: Final = 0.5  # seconds between looks at what is to be cancelled, and writings of progress
STUBBORN: Final = 10.0  # seconds that a cancelled job has to end; then it has lost its right to write anyway


class Worker:
    """Works from `start` to `stop` on the queues of `lanes` (name → how many at once)."""

    def __init__(
        self,
        db: Database,
        wake: Wake,
        attempts: Attempts,
        lanes: Mapping[str, int],
        lease: float,
        meter: Meter | None = None,
    ) -> None:
        self.name = peers.name()
        self._meter = meter or Meter()
        self._db = db
        self._wake = wake
        self._attempts = attempts
        self._lanes = {queue: Lane(queue, limit) for queue, limit in lanes.items()}
        self._peers = peers.Peers(db)
        self._look = lease / peers.LOOKS
        self._running: dict[str, Running] = {}
        self._outcomes: list[Outcome] = []
        self._event = asyncio.Event()
        self._check = asyncio.Event()  # something is to be cancelled
        self._maybe = True  # there may be something to claim
        self._more = False  # the last claim has left some
        self._promote_at = 0.0
        self._registered = False
        self._stirred = False  # since the last beat
        self._doubtful = False  # the table may show jobs as this worker's that it knows nothing of
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def busy(self) -> int:
        """How many jobs it has, running or about to."""
        return len(self._running) + sum(len(lane.waiting) for lane in self._lanes.values())

    def start(self) -> None:
        """Begin to work."""
        self._wake.add(self._wakened)
        self._tasks = [asyncio.create_task(each) for each in (self._work(), self._live(), self._heed())]

    async def stop(self, patience: float) -> None:
        """Claim no more; let what runs end for `patience` seconds, then put it back. May be called twice."""
        if not self._tasks:
            return
        self._stopping = True
        self._wake.remove(self._wakened)
        for lane in self._lanes.values():
            self._outcomes += [finish.stopped(claim) for claim in lane.waiting]
            lane.waiting.clear()
        self._event.set()
        await self._end_running(patience)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(StorageError):  # whoever finds the worker silent takes what is left
            await self._leave()

    async def _end_running(self, patience: float) -> None:
        running = [each.task for each in self._running.values() if each.task is not None]
        if running:
            await asyncio.wait(running, timeout=patience)
        moment = asyncio.get_running_loop().time()
        for each in self._running.values():
            each.interrupt(STOP, moment)
        if self._running:
            await asyncio.wait([each.task for each in self._running.values() if each.task is not None], timeout=1.0)

    async def _leave(self) -> None:
        async with self._db.write() as session:
            if self._outcomes:
                await self._attempts.give_up(session, self._outcomes)
                await finish.write(session, self._db, self._outcomes)
            if self._registered:
                await finish.keep_only(session, self.name, ())
                await self._peers.leave(session, self.name)
        self._outcomes.clear()

    def _wakened(self, cancelled: bool) -> None:
        self._maybe = True
        self._event.set()
        if cancelled:
            self._check.set()

    async def _work(self) -> None:
        while True:
            try:
                worked = await self._turn()
                if not worked:
                    await self._rest()
                elif not self._more:
                    await asyncio.sleep(PACE)
            except StorageError as error:
                logs.get("portico.jobs").warning("jobs wait for the database", cause=str(error))
                await asyncio.sleep(AGAIN)
            except Exception as error:  # a mistake of our own must not end the work
                logs.get("portico.jobs").error("the worker failed; it goes on", exc_info=error)
                await asyncio.sleep(AGAIN)

    async def _turn(self) -> bool:
        """Write what has ended and claim what there is room for; whether there was anything to do."""
        self._event.clear()
        wants = self._wants()
        claiming = self._maybe and not self._stopping and any(wants.values())
        if not (self._outcomes or claiming or self._doubtful):
            return False
        outcomes, self._outcomes = self._outcomes, []
        try:
            taken = await self._write(outcomes, wants if claiming else {})
        except BaseException:
            self._outcomes = outcomes + self._outcomes
            self._doubtful = True
            raise
        for outcome in outcomes:
            self._meter.ended(outcome)
        self._more = any(len(found) == wants[queue] for queue, found in taken.items() if wants[queue])
        if claiming:
            self._maybe = self._more
        for queue, found in taken.items():
            self._took(self._lanes[queue], found, wants[queue])
            self._stirred = self._stirred or bool(found)
            self._begin(self._lanes[queue])
        return True

    async def _write(self, outcomes: list[Outcome], wants: Mapping[str, int]) -> dict[str, list[Claim]]:
        moment, name = asyncio.get_running_loop().time(), self.name
        registering = bool(wants) and not self._registered
        async with self._db.write() as session:
            if outcomes:
                await self._attempts.give_up(session, outcomes)
                await finish.write(session, self._db, outcomes)
            if self._doubtful:
                await finish.keep_only(session, name, self._known())
            if wants and moment >= self._promote_at:
                await claims.promote(session, self._db)
            taken = {queue: await self._take(session, queue, most) if most else [] for queue, most in wants.items()}
            if registering:
                await self._peers.register(session, name)
        if name != self.name:  # taken for dead meanwhile; others will have these, too
            return {}
        self._registered = self._registered or registering
        self._doubtful = False
        if wants and moment >= self._promote_at:
            self._promote_at = moment + IDLE
        return taken

    def _wants(self) -> dict[str, int]:
        """How many to claim of each queue."""
        return {lane.queue: lane.wants() for lane in self._lanes.values()}

    async def _take(self, session: AsyncSession, queue: str, most: int) -> list[Claim]:
        return await claims.take(session, self.name, queue, most)

    def _took(self, lane: Lane, found: list[Claim], wanted: int) -> None:
        """The claim of `found` is committed; `wanted` were to be claimed."""
        lane.took(found, wanted)

    def _known(self) -> list[str]:
        waiting = (claim.id for lane in self._lanes.values() for claim in lane.waiting)
        return [*self._running, *waiting, *(outcome.claim.id for outcome in self._outcomes)]

    def _begin(self, lane: Lane) -> None:
        while lane.waiting and lane.running < lane.limit and not self._stopping:
            claim = lane.waiting.popleft()
            running = Running(self._attempts.job(claim))
            self._running[claim.id] = running
            lane.running += 1
            running.task = asyncio.create_task(self._run(lane, running))

    async def _run(self, lane: Lane, running: Running) -> None:
        claim = running.job.claim
        outcome: Outcome | None = None
        try:
            outcome = await self._attempts.run(running.job, running.why)
        finally:
            if self._running.get(claim.id) is running:
                del self._running[claim.id]
            lane.running -= 1
            self._begin(lane)
            self._event.set()
        if running.job.finished:
            self._meter.ended(finish.succeeded(claim, None))
        elif outcome is not None and claim.worker == self.name and not running.told:
            self._outcomes.append(outcome)

    async def _rest(self) -> None:
        """Until something is to do: somebody says so, a job's time comes, or the table shows it."""
        free = set() if self._stopping else self._free()
        if not free:
            await self._event.wait()
            return
        async with self._db.read() as session:
            found = await claims.any_queued(session, free)
            due = await claims.next_due(session, self._db)
        self._maybe = self._maybe or found
        if due is not None and due <= 0:
            self._maybe, self._promote_at = True, 0.0
        if self._maybe:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE if due is None else min(IDLE, due)):
                await self._event.wait()

    def _free(self) -> set[str]:
        return {lane.queue for lane in self._lanes.values() if lane.wants()}

    async def _live(self) -> None:
        """Beat while there are jobs, and look after the others."""
        while True:
            await asyncio.sleep(self._look)
            try:
                if (self._stirred or self._running) and self._registered:
                    self._stirred = False
                    if not await self._peers.beat(self.name):
                        self._lost()
                    self._doubtful = True
                    self._event.set()
                dead = await self._peers.look(self.name)
            except StorageError as error:
                logs.get("portico.jobs").warning("the worker can't say that it lives", cause=str(error))
                continue
            for worker in dead:
                logs.get("portico.jobs").warning("a worker died; its jobs are queued again", worker=worker)
            if dead:
                self._wakened(False)

    def _lost(self) -> None:
        """Others took this worker for dead: let go of all that it has, and go on under a new name."""
        logs.get("portico.jobs").warning("this worker was silent for too long; others have its jobs", worker=self.name)
        self.name, self._registered = peers.name(), False
        self._outcomes.clear()
        moment = asyncio.get_running_loop().time()
        for lane in self._lanes.values():
            lane.waiting.clear()
        for each in self._running.values():
            each.interrupt(LOST, moment)
        self._running.clear()

    async def _heed(self) -> None:
        """Interrupt what is to be cancelled, and write progress."""
        while True:
            try:
                async with asyncio.timeout(TICK):
                    await self._check.wait()
            except TimeoutError:
                pass
            self._check.clear()
            if not self.busy:
                continue
            try:
                self._cancel(await watching.cancelling(self._db, self.name))
                await watching.write_progress(self._db, [each.job for each in self._running.values()])
            except StorageError as error:
                logs.get("portico.jobs").warning("jobs can't be watched", cause=str(error))
                await asyncio.sleep(AGAIN)

    def _cancel(self, wanted: Iterable[str]) -> None:
        asked = set(wanted)
        if not asked:
            return
        moment = asyncio.get_running_loop().time()
        for lane in self._lanes.values():
            for claim in [claim for claim in lane.waiting if claim.id in asked]:
                lane.waiting.remove(claim)
                self._outcomes.append(finish.cancelled(claim))
        for each in [self._running[id_] for id_ in asked & self._running.keys()]:
            each.interrupt(CANCEL, moment)
            if moment - each.since > STUBBORN and not each.told:
                each.told = True
                self._outcomes.append(finish.cancelled(each.job.claim))
        self._event.set()
