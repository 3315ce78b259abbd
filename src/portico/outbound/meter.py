"""Calls counted by purpose and outcome, for /metrics."""

from __future__ import annotations

from typing import Final

from portico.errors import (
    AddressRefused,
    ConnectTimeout,
    OutboundBusy,
    OutboundError,
    OutboundMalformed,
    OutboundTimeout,
    OutboundTooLarge,
)
from portico.telemetry.counts import Counts

CALLS: Final = "outbound_calls"
SECONDS: Final = "outbound_seconds"
WORDS: Final[dict[type[OutboundError], str]] = {
    AddressRefused: "refused",
    ConnectTimeout: "timeout",
    OutboundBusy: "busy",
    OutboundMalformed: "malformed",
    OutboundTimeout: "timeout",
    OutboundTooLarge: "too_large",
}


class Meter:
    """Adds to the counts of the process; without any it counts for nobody."""

    def __init__(self, counts: Counts | None = None) -> None:
        self._counts = counts

    def add(self, purpose: str, said: str, seconds: float) -> None:
        """One call has ended."""
        if self._counts is not None:
            self._counts.add(CALLS, (purpose, said))
            self._counts.observe(SECONDS, purpose, seconds)


def outcome(ended: int | OutboundError) -> str:
    """The class of a status, such as 2xx, or a word for an error."""
    return f"{ended // 100}xx" if isinstance(ended, int) else WORDS.get(type(ended), "unreachable")
