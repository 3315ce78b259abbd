"""The job that delivers: all that is due to one endpoint, a few at a time, until nothing is or its turn is over.

A slow receiver holds its own turn and four calls. Turns are shared: one tenant never has more than a quarter of them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from portico.jobs.job import Job
from portico.services.events import WEBHOOK_DISABLED
from portico.services.webhooks.courier import Courier
from portico.services.webhooks.emitter import Emitter
from portico.services.webhooks.schedule import OVER, Called, failed_for_long, follow
from portico.storage.ids import now
from portico.storage.webhooks import Deliveries, Due, Result, Results, Target
from portico.storage.webhooks.records import FAILING, GONE, PENDING, REGISTERED
from portico.telemetry import logs
from portico.telemetry.counts import Counts

AT_ONCE: Final = 4  # calls to one endpoint
BATCH: Final = 64  # deliveries that are read at a time
FLUSH: Final = 0.1  # seconds after which results are written, though others of their batch are not there yet
TURN: Final = 20.0  # seconds; then others come first
SHARE: Final = 4  # a tenant has at most this part of the turns
LEAVING: Final = 1.0  # seconds until the next turn of what a process that stops has left
LATER: Final = 2.0  # seconds until a tenant that has its share is asked again, and up to three times as long


@dataclass(slots=True)
class Turn:
    """One run of the job."""

    job: Job
    target: Target
    deadline: float  # monotonic
    sent: int = 0
    unwanted: bool = False  # somebody has removed or disabled the endpoint
    healthy: bool = False  # something has arrived
    over: str = ""  # why the endpoint gets nothing more: gone, failing
    results: list[Result] = field(default_factory=list)  # not written yet


class Drain:
    """Runs the jobs of the kind `webhooks.deliver`."""

    def __init__(
        self,
        courier: Courier,
        emitter: Emitter,
        deliveries: Deliveries,
        results: Results,
        counts: Counts,
        steps: Sequence[float],
        turns: int,
        leaving: asyncio.Event,
    ) -> None:
        self._courier = courier
        self._emitter = emitter
        self._deliveries = deliveries
        self._results = results
        self._counts = counts
        self._steps = tuple(steps)
        self._leaving = leaving
        self._share = max(1, turns // SHARE)
        self._turns: dict[str, int] = {}  # tenant → how many it has

    async def run(self, job: Job) -> dict[str, Any]:
        """One turn of an endpoint; what is left is the next job's."""
        endpoint, token = str(job.payload["endpoint"]), str(job.payload["wake"])
        target = await self._deliveries.target(endpoint, token)
        sent, least = 0, 0.0
        if target is not None:
            with self._seat(target.tenant) as seated:
                least = 0.0 if seated else random.uniform(LATER, 3 * LATER)
                if seated:
                    turn = Turn(job, target, time.monotonic() + TURN)
                    await self._take(turn)
                    sent = turn.sent
        if self._leaving.is_set():
            least = max(least, LEAVING)
        async with job.effect(finish=True, result={"sent": sent}) as session:
            await self._emitter.wake(session, await self._deliveries.hand_over(session, endpoint, token, least))
        return {"sent": sent}

    @contextmanager
    def _seat(self, tenant: str) -> Iterator[bool]:
        taken = self._turns.get(tenant, 0)
        if taken >= self._share:
            yield False
            return
        self._turns[tenant] = taken + 1
        try:
            yield True
        finally:
            self._turns[tenant] -= 1
            if not self._turns[tenant]:
                del self._turns[tenant]

    async def _take(self, turn: Turn) -> None:
        while not self._ends(turn):
            due = await self._deliveries.due(turn.target.id, BATCH)
            if not due:
                return
            await self._send_all(turn, due)

    def _ends(self, turn: Turn) -> bool:
        return bool(turn.over) or turn.unwanted or time.monotonic() >= turn.deadline or self._leaving.is_set()

    async def _send_all(self, turn: Turn, due: Sequence[Due]) -> None:
        waiting = iter(due)
        running = {asyncio.create_task(self._send_some(turn, waiting)) for _ in range(min(AT_ONCE, len(due)))}
        try:
            while running:
                done, running = await asyncio.wait(running, timeout=FLUSH)
                await self._write(turn)
                for task in done:
                    task.result()
        except asyncio.CancelledError:
            await _cancel(running)
            await self._write(turn)  # what has arrived need not be sent again
            raise
        finally:
            await _cancel(running)

    async def _send_some(self, turn: Turn, waiting: Iterator[Due]) -> None:
        for due in waiting:
            if self._ends(turn):
                return
            called = await self._courier.deliver(due.url or turn.target.url, due, turn.target.secrets)
            turn.healthy = turn.healthy or called.succeeded
            if turn.target.kind == REGISTERED and not called.succeeded:
                turn.over = turn.over or _end(turn, called)
            retries, chance = turn.target.retry_count, random.random()
            turn.results.append(follow(called, due, self._steps, retries, chance, last=bool(turn.over)))

    async def _write(self, turn: Turn) -> None:
        """Write what has come, if the job is still ours."""
        results, turn.results = turn.results, []
        if not results:
            return
        async with turn.job.effect() as session:
            turn.unwanted = not await self._results.write(session, turn.target.id, results)
            if turn.over and await self._results.disable(session, turn.target.id, turn.over):
                await self._tell(session, turn)
        turn.sent += len(results)
        for each in results:
            if each.state != PENDING:
                self._counts.add("webhook_deliveries", (each.state,))

    async def _tell(self, session: Any, turn: Turn) -> None:
        """The owner learns of it through every other endpoint."""
        target = turn.target
        data = {"id": target.id, "url": target.url, "reason": turn.over, "disabled_at": now().isoformat()}
        await self._emitter.tell_all(session, target.tenant, target.owner, WEBHOOK_DISABLED, data)
        logs.get("portico.webhooks").warning("a webhook was disabled", webhook=target.id, reason=turn.over)


async def _cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _end(turn: Turn, called: Called) -> str:
    """Why a failed call is the endpoint's last; "" when it is not."""
    if called.status == OVER:
        return GONE
    if not turn.healthy and failed_for_long(turn.target.failing_since, called.at):
        return FAILING
    return ""
