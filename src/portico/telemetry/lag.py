"""How late an event loop runs what is due: its lag, as the 99th percentile over the last minute."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

INTERVAL: Final = 0.1  # seconds between two looks
KEPT: Final = 600  # looks: a minute


class LoopLag:
    """Looks ten times a second how late it comes.

    A loop that stands still for a second has missed nine looks, and each of them counts as late as it would have been:
    otherwise a long halt would be one sample among six hundred.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._late: deque[float] = deque(maxlen=KEPT)
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._due = time.monotonic() + INTERVAL
        self._timer = self._loop.call_later(INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def observe(self, late: float) -> None:
        """Take one look that came `late` seconds after its time, and those that were missed by it."""
        for missed in range(min(KEPT, int(late / INTERVAL) + 1)):
            self._late.append(late - missed * INTERVAL)

    def p99(self) -> float:
        """Seconds; 99 of 100 looks of the last minute came no later. 0 before the first."""
        late = sorted(self._late)
        return late[(len(late) * 99 - 1) // 100] if late else 0.0

    def _look(self) -> None:
        self.observe(max(0.0, time.monotonic() - self._due))
        self.start()
