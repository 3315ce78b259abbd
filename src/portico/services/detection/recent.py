"""The answers that were given last, in this process: what is asked again and again needs no store, and no unsealing."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from portico.services.detection.judging import Judged

MOST: Final = 4096  # answers, some kilobytes each at the most; no texts


class Recent:
    """Answers by the name under which they are kept, each until its time; the one asked for least lately goes first.

    `clock` gives seconds since 1970, for other processes have told when an answer was made.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.time) -> None:
        self._most = most
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, Judged]] = OrderedDict()

    def find(self, name: str) -> Judged | None:
        """The answer, if there is one that still counts."""
        found = self._held.get(name)
        if found is None:
            return None
        until, judged = found
        if until <= self._clock():
            del self._held[name]
            return None
        self._held.move_to_end(name)
        return judged

    def keep(self, name: str, judged: Judged, until: float) -> None:
        """Keep an answer for as long as it counts."""
        self._held[name] = (until, judged)
        self._held.move_to_end(name)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
