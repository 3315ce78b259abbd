"""When an engine is left alone, and how many calls may be made again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

FAILURES: Final = 5  # in the window open the breaker, if they are
SHARE: Final = 0.5  # at least this share of the calls in it
WINDOW: Final = 10  # seconds
SPARED: Final = 10.0  # calls that may be made again at once; each call adds
EARNED: Final = 0.2


class Breaker:
    """Counts what came of the calls of the last seconds. Once open it stays so until `close`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.open = False
        self._clock = clock
        self._seconds: deque[list[int]] = deque()  # of [second, calls, failures]

    def succeeded(self) -> None:
        """A call went well."""
        self._now()[1] += 1

    def failed(self) -> bool:
        """A call went wrong; whether that has opened the breaker."""
        now = self._now()
        now[1] += 1
        now[2] += 1
        calls, failures = (sum(second[at] for second in self._seconds) for at in (1, 2))
        opens = not self.open and failures >= FAILURES and failures >= SHARE * calls
        self.open = self.open or opens
        return opens

    def close(self) -> None:
        """All is well again, and what was is forgotten."""
        self.open = False
        self._seconds.clear()

    def _now(self) -> list[int]:
        second = int(self._clock())
        while self._seconds and self._seconds[0][0] <= second - WINDOW:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
        return self._seconds[-1]


class Budget:
    """How many calls may be made again: a share of all, so that an engine in trouble is not asked twice as much."""

    def __init__(self) -> None:
        self._left = SPARED

    def earn(self) -> None:
        """A first call was made."""
        self._left = min(SPARED, self._left + EARNED)

    def take(self) -> bool:
        """Whether one may be made again."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
