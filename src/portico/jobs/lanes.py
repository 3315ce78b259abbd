"""What a worker has of each queue: the attempts that run, and claims that wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from portico.jobs.claims import Claim
from portico.jobs.job import Job

AHEAD: Final = 250  # claims that wait for their turn, at most


@dataclass(slots=True)
class Running:
    """An attempt that runs."""

    job: Job
    task: asyncio.Task[None] | None = None
    why: list[str] = field(default_factory=list)  # for what reasons it was interrupted
    since: float = 0.0  # when it was cancelled first, by the loop's clock
    told: bool = False  # that it is cancelled was written, though it has not ended

    def interrupt(self, reason: str, moment: float) -> None:
        """Have its task cancelled; again each time, for handlers that go on."""
        if not self.why:
            self.since = moment
        self.why.append(reason)
        self.job.cancelled = True
        if self.task is not None:
            self.task.cancel()


class Lane:
    """A queue as one worker works on it; at most `limit` of its jobs at once.

    Where jobs are over before the next claim is made, some are claimed ahead: twice as many each time, until enough
    wait; and fewer again when they wait for long.
    """

    def __init__(self, queue: str, limit: int) -> None:
        self.queue = queue
        self.limit = limit
        self.waiting: deque[Claim] = deque()
        self.running = 0
        self._ahead = 0

    def wants(self) -> int:
        """How many more to claim."""
        free = self.limit - self.running - len(self.waiting)
        if self.limit == 0 or len(self.waiting) > self._ahead // 2 or (self._ahead == 0 and free <= 0):
            return 0
        return max(0, free + self._ahead)

    def took(self, claims: list[Claim], wanted: int) -> None:
        """`wanted` were to be claimed, and `claims` were."""
        if len(claims) < wanted:
            self._ahead //= 2
        elif self.running == 0 and not self.waiting:  # what it had was over before these came
            self._ahead = min(max(2 * self._ahead, self.limit), AHEAD)
        elif len(self.waiting) > self._ahead // 4:
            self._ahead //= 2
        self.waiting.extend(claims)
