"""What is counted of jobs, for /metrics."""

from __future__ import annotations

from typing import Final

from portico.jobs.finish import STOPPED, Outcome
from portico.jobs.jobs import Jobs
from portico.jobs.records import QUEUED, WAITING
from portico.storage.ids import now
from portico.telemetry.counts import Counts

ATTEMPTS: Final = "job_attempts"
SECONDS: Final = "job_seconds"
DEPTH: Final = "jobs"
OLDEST: Final = "jobs_oldest_seconds"
RETRIED: Final = "retried"


class Meter:
    """Adds to the counts of the process; without any it counts for nobody."""

    def __init__(self, counts: Counts | None = None) -> None:
        self._counts = counts

    def ended(self, outcome: Outcome) -> None:
        """An attempt ended."""
        if self._counts is None:
            return
        again = outcome.state in (WAITING, QUEUED)
        what = outcome.state if not again else STOPPED if outcome.what == STOPPED else RETRIED
        self._counts.add(ATTEMPTS, (outcome.claim.kind, what))
        seconds = max(0.0, (now() - outcome.claim.started_at).total_seconds())
        self._counts.observe(SECONDS, outcome.claim.kind, seconds)

    async def measure(self, jobs: Jobs) -> None:
        """Look how many jobs there are, and how long the oldest has waited."""
        if self._counts is not None:
            depth, oldest = await jobs.depth()
            self._counts.gauge(DEPTH, {labels: float(count) for labels, count in depth.items()})
            self._counts.gauge(OLDEST, {(): oldest})
