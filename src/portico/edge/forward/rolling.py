"""How many of the last events were marked, over a span of time that slides in ten steps."""

from __future__ import annotations

from typing import Final

STEPS: Final = 10


class Rolling:
    """Counts events, and marked ones among them. `now` is monotonic seconds; what is older than `span` is forgotten."""

    def __init__(self, span: float) -> None:
        self.width = span / STEPS
        self.until = 0.0  # when the present step ends
        self.at = 0
        self.seen = 0  # in the present step
        self.marked = 0
        self.all_seen = 0  # in the whole span, but for the present step
        self.all_marked = 0
        self.seens = [0] * STEPS
        self.markeds = [0] * STEPS

    def see(self, now: float) -> None:
        """Count an event."""
        if now >= self.until:
            self.turn(now)
        self.seen += 1

    def mark(self) -> None:
        """Mark an event that was counted."""
        self.marked += 1

    def total(self) -> int:
        """Events in the span, as of the last `see` or `turn`."""
        return self.all_seen + self.seen

    def total_marked(self) -> int:
        """Marked events in the span, as of the last `see` or `turn`."""
        return self.all_marked + self.marked

    def turn(self, now: float) -> None:
        """Begin the steps that are due."""
        if now < self.until:
            return
        if now >= self.until + self.width * STEPS:
            self.clear()
            self.until = now + self.width
            return
        while now >= self.until:
            self._step()
            self.until += self.width

    def clear(self) -> None:
        """Forget everything."""
        self.seen = self.marked = self.all_seen = self.all_marked = 0
        self.seens = [0] * STEPS
        self.markeds = [0] * STEPS

    def _step(self) -> None:
        self.seens[self.at] = self.seen
        self.markeds[self.at] = self.marked
        self.at = self.at + 1 if self.at + 1 < STEPS else 0
        # The oldest step leaves the span: its place is the present one's.
        self.all_seen += self.seen - self.seens[self.at]
        self.all_marked += self.marked - self.markeds[self.at]
        self.seens[self.at] = self.markeds[self.at] = 0
        self.seen = self.marked = 0
