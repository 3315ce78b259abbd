"""The breaker of one target: after too many failures it is left alone for a while, then one request tries it."""

from __future__ import annotations

from typing import Final

from portico import contracts
from portico.edge.exchange import Exchange
from portico.edge.forward.rolling import Rolling

CLOSED: Final = 0  # requests flow
OPEN: Final = 1  # none do
HALF_OPEN: Final = 2  # one does: its fate decides
FAILURES: Final = frozenset([502, 503, 504])  # answers that say that the target can't; other 5xx are its own business


class Breaker:
    """Opens when at least `min_requests` ended within `window`, and `failure_ratio` of them or more had failed.

    `passed`, `failed` and `probe_for` answer whether the state has changed.
    """

    def __init__(self, spec: contracts.Breaker) -> None:
        self.ratio = spec.failure_ratio
        self.least = spec.min_requests
        self.open_for = spec.open_for
        self.recent = Rolling(spec.window)
        self.state = CLOSED
        self.until = 0.0  # monotonic: when an open one may be tried
        self.probe: Exchange | None = None

    def passed(self, exchange: Exchange, now: float) -> bool:
        """A request went well."""
        if self.state == CLOSED:
            self.recent.see(now)
            return False
        if self.probe is not exchange:
            return False  # it began before the breaker opened
        self.close()
        return True

    def failed(self, exchange: Exchange | None, now: float) -> bool:
        """A request failed, or an attempt to connect that no request waits for any longer."""
        if self.state == CLOSED:
            recent = self.recent
            recent.see(now)
            recent.mark()
            if recent.total() < self.least or recent.total_marked() < self.ratio * recent.total():
                return False
        elif self.probe is None or self.probe is not exchange:
            return False
        self.state = OPEN
        self.until = now + self.open_for
        self.probe = None
        return True

    def left(self, exchange: Exchange) -> None:
        """A request ended and showed nothing: its client has gone. If it was the probe, another may be."""
        if self.probe is exchange:
            self.probe = None

    def due(self, now: float) -> bool:
        """Whether a request may try the target as the one probe."""
        if self.state == OPEN:
            return now >= self.until
        return self.state == HALF_OPEN and self.probe is None

    def start_probe(self, exchange: Exchange) -> None:
        """This request tries the target; no other does until its fate is known."""
        self.state = HALF_OPEN
        self.probe = exchange

    def close(self) -> None:
        """Let requests flow; what went before is forgotten."""
        self.state = CLOSED
        self.probe = None
        self.recent.clear()
