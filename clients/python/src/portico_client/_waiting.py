"""How a client waits for a background job."""

from __future__ import annotations

import random
import time

from portico_client.detection import Job
from portico_client.errors import JobFailed, JobUnfinished
from portico_client.models import Verdict

SLOWER = 1.5
SELDOMEST = 5.0  # seconds


class Waiting:
    """One wait, of `timeout` seconds from now."""

    def __init__(self, job_id: str, timeout: float, poll: float) -> None:
        self.job_id = job_id
        self._until = time.monotonic() + timeout
        self._step = poll

    def verdict(self, job: Job) -> Verdict | None:
        """The verdict, or None while there is none; JobFailed when there will be none."""
        if job.ended and job.result is None:
            raise JobFailed(self.job_id, job.status, job.error.detail if job.error else "")
        return job.result

    def pause(self, job: Job) -> float:
        """Seconds until the next look; JobUnfinished when the time is over."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise JobUnfinished(self.job_id, job.status)
        step = min(left, self._step * random.uniform(0.8, 1.2))
        self._step = min(SELDOMEST, self._step * SLOWER)
        return step
