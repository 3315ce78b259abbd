"""When a request is sent again, and how long is waited before."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass

from portico_client.errors import ApiError, ConnectionFailed, PorticoError

FIRST = 0.25  # seconds; doubled with every try
LONGEST_STEP = 8.0
AGAIN = (429, 502, 503, 504)
SAYS_WHEN = (429, 503)


@dataclass(frozen=True)
class Retry:
    """`most`: how often a request is sent again. `longest`: seconds that a gateway may ask to wait."""

    most: int
    longest: float

    def wait(self, tried: int, error: PorticoError, repeatable: bool) -> float | None:
        """Seconds to wait after the `tried`-th try (from 1) ended so; None: it is not sent again.

        Sent again is what surely reached nobody, what the gateway refused and said when to come back, and what may
        be sent twice anyway. A gateway that asks for longer than `longest` is not waited for: its error tells.
        """
        if tried > self.most:
            return None
        step: float = min(LONGEST_STEP, FIRST * 2 ** (tried - 1))
        if isinstance(error, ConnectionFailed):
            return random.uniform(0, step) if repeatable or not error.sent else None
        if not isinstance(error, ApiError) or error.status not in AGAIN:
            return None
        if error.retry_after is not None and error.status in SAYS_WHEN:
            # A little later than it says, and not all at once.
            return error.retry_after + random.uniform(0, step) if error.retry_after <= self.longest else None
        return random.uniform(0, step) if repeatable else None


def retry_after(value: str | None) -> float | None:
    """The seconds of a Retry-After field, a number or a date; None where it is neither."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
