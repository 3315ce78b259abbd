"""What follows an attempt: success, another one later, or the end. Pure: time and chance are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from portico.storage.webhooks.records import FAILED, PENDING, SUCCEEDED, Due, Result

RETRIES: Final = 3  # of the steps, unless an endpoint says how many
JITTER: Final = 0.2  # of a step, at most, added
LONGEST: Final = 86400.0  # seconds that a Retry-After may ask for
PATIENCE: Final = timedelta(days=5)  # of failures alone, after which an endpoint is disabled
OVER: Final = 410  # Gone: the receiver wants no more


@dataclass(frozen=True, slots=True)
class Called:
    """What came of one call: a status, or an error in words. `again` are the seconds of Retry-After; 0: none."""

    at: datetime
    status: int | None
    body: bytes
    seconds: float
    error: str = ""
    again: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the receiver has taken it: only 2xx says so."""
        return self.status is not None and 200 <= self.status < 300


def follow(called: Called, due: Due, steps: Sequence[float], retries: int, chance: float, *, last: bool) -> Result:
    """The result of an attempt. `chance` is from 0 to 1; `last`: there is to be no other, whatever the steps say."""
    step = due.step + (not called.succeeded)
    state, next_at = SUCCEEDED, None
    if not called.succeeded:
        state = FAILED
        if not last and called.status != OVER and step <= min(retries, len(steps)):
            pause = max(steps[step - 1] * (1 + JITTER * chance), called.again)
            state, next_at = PENDING, called.at + timedelta(seconds=called.seconds + pause)
    return Result(
        delivery=due.id,
        number=due.attempts + 1,
        at=called.at,
        http_status=called.status,
        response_body=called.body,
        seconds=called.seconds,
        error=called.error,
        succeeded=called.succeeded,
        state=state,
        step=step,
        next_at=next_at,
    )


def failed_for_long(since: datetime | None, moment: datetime) -> bool:
    """Whether an endpoint that has failed since then is to be disabled."""
    return since is not None and moment - since >= PATIENCE


def retry_after(text: str, moment: datetime) -> float:
    """The seconds of a Retry-After (RFC 9110 10.2.3), a number or a date; at most a day, 0 when it is neither."""
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return min(float(text), LONGEST)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0.0
    aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max(0.0, (aware - moment).total_seconds()), LONGEST)
