"""How much a call may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds, bytes and counts of the calls of one client."""

    total: float = 15.0  # from the call to the last byte, all redirects and the wait for a turn included
    connect: float = 5.0  # one address
    head: int = 32 * 1024  # the answer's head
    body: int = 1024 * 1024  # the answer's body, as it comes and after decompression
    calls: int = 64  # at the same time
    per_host: int = 16  # connections to one host and port
    waiting: int = 256  # calls that wait for their turn; more are refused
    redirects: int = 0  # followed; each is checked like a first call
