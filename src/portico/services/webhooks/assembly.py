"""What `webhooks` is made of in one process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from portico.contracts import Snapshot
from portico.jobs.handler import Backoff, Handler, Schedule
from portico.jobs.job import Job
from portico.jobs.jobs import Jobs
from portico.kernel.container import ServiceContainer
from portico.outbound import Client
from portico.services.events import Webhooks
from portico.services.host import Host
from portico.services.webhooks.courier import Courier
from portico.services.webhooks.drain import Drain
from portico.services.webhooks.emitter import KIND, Emitter
from portico.services.webhooks.service import Hooks
from portico.services.webhooks.settings import STEPS
from portico.storage.database import Database
from portico.storage.ids import now
from portico.storage.vault import Vault
from portico.storage.webhooks import Deliveries, Endpoints, Results, Secrets
from portico.telemetry.counts import Counts
from portico.telemetry.tracing.process import Tracing

QUEUE: Final = "webhooks"
TURNS: Final = 10  # endpoints at a time in one process, where the configuration does not say
UPKEEP: Final = "webhooks.upkeep"
EVERY: Final = 300.0  # seconds
FORGOTTEN: Final = timedelta(minutes=10)  # behind its time a job was lost, or waits behind very many
KEEP: Final = 30 * 86400.0  # seconds


class Assembly:
    """Made of what `storage`, `jobs` and `outbound` provide."""

    def __init__(self, services: ServiceContainer, config: dict[str, Any]) -> None:
        db, client, counts = services.get(Database), services.get(Client), services.get(Counts)
        self._db = db
        self._keep = timedelta(seconds=config.get("keep", KEEP))
        secrets = Secrets(services.get(Vault))
        endpoints = Endpoints(db, secrets)
        deliveries, results = Deliveries(db, endpoints, secrets), Results(db, secrets)
        emitter = Emitter(client, endpoints, deliveries, services.get(Jobs))
        courier = Courier(client, counts, services.get(Tracing))
        self._deliveries, self._results, self._emitter = deliveries, results, emitter
        steps = config.get("steps", STEPS)
        turns = {queue.name: queue.concurrency for queue in services.get(Snapshot).jobs.concurrency}.get(QUEUE, TURNS)
        leaving = services.get(Host).leaving
        self._drain = Drain(courier, emitter, deliveries, results, counts, steps, turns, leaving)
        self.hooks = Hooks(db, endpoints, secrets, deliveries, results, emitter, courier)
        services.provide(Webhooks, emitter)  # type: ignore[type-abstract]  # a Protocol is a key here

    def handlers(self) -> Sequence[Handler]:
        """What runs the jobs."""
        steps = Backoff(steps=(1, 5, 15, 30, 60, 60))  # of the database's failures; receivers have their own steps
        return (
            Handler(KIND, self._drain.run, QUEUE, steps, summary="deliver webhooks"),
            Handler(UPKEEP, self._upkeep, summary="remove old deliveries of webhooks, find forgotten ones"),
        )

    def schedules(self) -> Sequence[Schedule]:
        """Upkeep, by one process at a time."""
        return (Schedule(UPKEEP, UPKEEP, {}, every=EVERY, missed="skip"),)

    async def _upkeep(self, job: Job) -> dict[str, Any]:
        async with job.effect() as session:
            wakes = await self._deliveries.forgotten(session, now() - FORGOTTEN)
            await self._emitter.wake(session, wakes)
        return {"woken": len(wakes), "removed": await self._results.prune(now() - self._keep)}
