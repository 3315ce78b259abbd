"""What `detection` is made of in one process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from portico.contracts import Snapshot
from portico.jobs.handler import Handler, Schedule
from portico.jobs.job import Job
from portico.jobs.jobs import Jobs
from portico.kernel.container import ServiceContainer
from portico.services.detection import cached
from portico.services.detection.background import Background
from portico.services.detection.batch import Batches
from portico.services.detection.cached import CachedJudge
from portico.services.detection.embedded import Embedded
from portico.services.detection.engines import Engines
from portico.services.detection.judging import Judge
from portico.services.detection.reviews import queue
from portico.services.detection.reviews.queue import Queue
from portico.services.detection.telling import Telling
from portico.services.detection.verdicts import Verdicts
from portico.services.events import Webhooks
from portico.state.cache import Cache
from portico.storage.database import Database
from portico.storage.detection import Reviews
from portico.storage.ids import now
from portico.storage.vault import Vault
from portico.telemetry.counts import Counts

UPKEEP: Final = "detection.upkeep"
EVERY: Final = 3600.0  # seconds
DROP: Final = "drop"


class Assembly:
    """`judge` is the whole chain that a text goes through: the cache, engines, the embedded detector.

    `engines` puts texts that nobody could judge in time into `queue`. What comes of a text is told to `verdicts`.
    """

    def __init__(self, services: ServiceContainer, config: dict[str, Any]) -> None:
        snapshot = services.get(Snapshot)
        wanted = snapshot.detection
        vault, counts = services.get(Vault), services.get(Counts)
        self._counts = counts
        self._bounds = wanted.reviews
        db = services.get(Database)
        self.reviews = Reviews(db, vault)
        self.queue = Queue(self.reviews, wanted.reviews, counts)
        self._embedded = Embedded()
        self.engines = Engines(wanted, snapshot.outbound, counts, self._embedded)
        self.engines.reviews = self.queue
        asked = [[each.name, each.url, sorted(each.headers.items())] for each in wanted.engines]
        self._asked = json.dumps(asked) if asked else ""
        self.judge: Judge = self.engines if wanted.engines else self._embedded
        if wanted.cache.ttl:
            cache = services.get(Cache)
            self.judge = CachedJudge(self.judge, self._version, cache, wanted.cache.ttl, vault, counts)
        self.telling = Telling(db, services.get(Webhooks))  # type: ignore[type-abstract]  # a Protocol is a key here
        self.verdicts = Verdicts(db)
        self.batches = Batches(self.judge, self.verdicts.count)
        self.background = Background(self.judge, self.telling, db, services.get(Jobs), vault, self.verdicts.count)

    @property
    def drop(self) -> bool:
        """Whether a text is removed when somebody has decided."""
        return self._bounds.text == DROP

    async def start(self) -> None:
        """Make ready to call engines, and to write what texts were judged to be."""
        for metric, outcomes in ((cached.METRIC, cached.OUTCOMES), (queue.METRIC, queue.OUTCOMES)):
            for outcome in outcomes:
                self._counts.add(metric, (outcome,), 0)  # shown before there is one
        await self.engines.start()
        self.verdicts.start()

    async def stop(self) -> None:
        """Let go of engines, also after half a start; write what waits to be written."""
        await self.engines.stop()
        await self.queue.stop()
        await self.verdicts.stop()

    def handlers(self) -> Sequence[Handler]:
        """What runs the jobs."""
        upkeep = Handler(UPKEEP, self._upkeep, summary="remove old texts that people judge")
        return (upkeep, *self.background.handlers())

    def schedules(self) -> Sequence[Schedule]:
        """Upkeep, by one process at a time."""
        return (Schedule(UPKEEP, UPKEEP, {}, every=EVERY, missed="skip"),)

    async def _version(self) -> str:
        """What answers that are kept depend on beside their question. Those of a stand-in are not kept."""
        return self._asked or await self._embedded.version()

    async def _upkeep(self, job: Job) -> dict[str, Any]:
        return {"removed": await self.reviews.prune(now() - timedelta(seconds=self._bounds.keep))}
