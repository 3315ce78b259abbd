"""What a guard knows of one exchange."""

from __future__ import annotations

import asyncio
from typing import Any, Final

CLEAN: Final = b"clean"
MALICIOUS: Final = b"malicious"
EMPTY: Final = b"empty"  # nothing to scan at the fields that are named
UNSCANNED: Final = b"unscanned"  # of a kind that is not scanned
UNAVAILABLE: Final = b"unavailable"  # nobody could scan it


class Judged:
    """A message with a verdict, as usage counts it: `confidence` in millionths, `engine` says who judged."""

    def __init__(self, engine: str, malicious: bool, confidence: int, degraded: bool, cached: bool) -> None:
        self.engine = engine
        self.malicious = malicious
        self.confidence = confidence
        self.degraded = degraded
        self.cached = cached


class Guarded:
    """The verdicts, "" where there is none; what is held back; and what is being waited for."""

    def __init__(self) -> None:
        self.request = b""
        self.response = b""
        self.of_request: Judged | None = None  # None: not judged, or not to its end
        self.of_response: Judged | None = None
        self.held = 0  # bytes of the answer that wait for a verdict
        self.work: asyncio.Future[Any] | None = None
        self.later: asyncio.TimerHandle | None = None

    def log_entry(self) -> bytes:
        """As the access log shows it: an object with `request` and `response`, those there are."""
        parts: list[bytes] = []
        if self.request:
            parts.append(b'"request":"' + self.request + b'"')
        if self.response:
            parts.append(b'"response":"' + self.response + b'"')
        return b"{" + b",".join(parts) + b"}"

    def stop(self) -> None:
        """The exchange has ended: wait for nothing any more."""
        self.held = 0
        if self.work is not None:
            self.work.cancel()
            self.work = None
        if self.later is not None:
            self.later.cancel()
            self.later = None
