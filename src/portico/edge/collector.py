"""Garbage collection by the clock: little and often while requests flow, thoroughly when none do, never for long.

Python's own collector starts in the middle of a request and looks at everything once in a while: 98 ms with 100,000
keys. So it is off in the edge, what was loaded is frozen, and this takes its place. Cycles that errors leave behind are
found while they are young, which costs as much as there are objects younger than a second. What has grown old is looked
at when nothing is in flight, and only while there is little of it: more than that is frozen too.
"""

from __future__ import annotations

import gc
import time
from typing import Any, Final

YOUNG_EVERY: Final = 1.0  # seconds between two looks at what is young
MANY: Final = 10_000  # young objects that are looked at without waiting for the second to pass
FEW: Final = 1_000  # objects that have grown old for which a look at all old ones is not worth while yet
FULL_EVERY: Final = (
    60.0  # seconds after which old objects are looked at all the same, also while requests are in flight
)
RECENT: Final = 100  # looks whose time is remembered
MOST: Final = 40_000  # objects that are looked at in one go: about 2 ms


class Collector:
    """The garbage collection of one process. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.old = 0  # objects that have outlived a look since the last freeze, about
        self.grown = 0  # those of them that did so since the last look at old ones
        self.collections = 0
        self.longest = 0.0  # seconds of processor time that one look took
        self.recent: list[float] = []  # what the last ones took
        self._young_at = 0.0
        self._full_at = 0.0

    def start(self, now: float) -> None:
        """Take over: what is there stays for good."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._young_at = self._full_at = now

    def turn(self, now: float, busy: bool) -> None:
        """Look if it is time to; `busy` while requests are in flight. Called several times a second."""
        young = gc.get_count()[0]
        if young >= MANY or (young and now - self._young_at >= YOUNG_EVERY):
            self._young_at = now
            self._look_at_young(young)
        elif self.grown and ((not busy and self.grown >= FEW) or now - self._full_at >= FULL_EVERY):
            self._full_at = now
            self._look_at_old()

    def report(self) -> dict[str, Any]:
        """What `portico status --json` shows of it: `longest`, and the `median` of the last hundred, in seconds."""
        median = sorted(self.recent)[len(self.recent) // 2] if self.recent else 0.0
        times = {"longest": round(self.longest, 6), "median": round(median, 6)}
        return {"collections": self.collections, **times, "old": self.old}

    def _look_at_young(self, young: int) -> None:
        if young > MOST:
            self._freeze()  # a reload has built a large plan: it stays until the next one
            return
        survived = max(0, young - self._look(1))
        self.old += survived
        self.grown += survived

    def _look_at_old(self) -> None:
        if self.old > MOST:
            self._freeze()
            return
        self.old = max(0, self.old - self._look(2))
        self.grown = 0

    def _freeze(self) -> None:
        gc.freeze()  # takes no time, whatever there is; what is frozen is still freed when nothing refers to it
        self.old = self.grown = 0

    def _look(self, generation: int) -> int:
        began = time.thread_time()
        found = gc.collect(generation)
        took = time.thread_time() - began
        self.longest = max(self.longest, took)
        self.recent = [*self.recent[1 - RECENT :], took]
        self.collections += 1
        return found
