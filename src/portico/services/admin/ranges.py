"""Ranges of time that are asked for, in the steps in which there is something to tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from portico.services.admin.usage_schemas import Step
from portico.services.problems import Refused
from portico.storage.tables.usage import DAY, HOUR, MINUTE
from portico.storage.usage.retention import Retention

STEPS: Final = {"minute": MINUTE, "hour": HOUR, "day": DAY}
MOST: Final = 1500  # points of a series
ENOUGH: Final = 200  # points of a series whose step nobody has named
USUAL: Final = 86400  # seconds of a range that nobody has named


@dataclass(frozen=True, slots=True)
class Range:
    """From `start` to `end`, seconds since 1970, both beginnings of a step of `span` seconds."""

    start: int
    end: int
    span: int

    @property
    def step(self) -> Step:
        """The step's name."""
        return cast(Step, next(name for name, span in STEPS.items() if span == self.span))

    @property
    def first(self) -> datetime:
        """When the first step begins."""
        return moment(self.start)

    @property
    def last(self) -> datetime:
        """When the last step ends."""
        return moment(self.end)

    def steps(self) -> Iterator[int]:
        """The beginning of each."""
        return iter(range(self.start, self.end, self.span))


def moment(seconds: int) -> datetime:
    """A time from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def whole(given_from: datetime | None, given_to: datetime | None, kept: Retention) -> Range:
    """A range for sums: in hours as far as they are kept, else in days; widened to whole ones."""
    first, last, now = _ends(given_from, given_to)
    span = HOUR if first >= kept.oldest(HOUR, now) else DAY
    return _steps(first, last, now, span, kept)


def stepped(given_from: datetime | None, given_to: datetime | None, step: Step | None, kept: Retention) -> Range:
    """A range for a series, widened to whole steps; without a step, the finest that is kept and not too many."""
    first, last, now = _ends(given_from, given_to)
    if step is None:
        fits = (span for span in (MINUTE, HOUR) if first >= kept.oldest(span, now) and last - first <= ENOUGH * span)
        return _bounded(_steps(first, last, now, next(fits, DAY), kept), kept, now)
    span = STEPS[step]
    if span != DAY and first < kept.oldest(span, now):
        coarser = next((each for each in (HOUR, DAY) if each > span and first >= kept.oldest(each, now)), DAY)
        name = next(name for name, each in STEPS.items() if each == coarser)
        detail = f"`from` is before {moment(kept.oldest(span, now)):%Y-%m-%dT%H:%M:%SZ}, from when each {step} is kept"
        raise Refused(422, "range_not_kept", detail, f"ask with step={name}, or for less")
    return _bounded(_steps(first, last, now, span, kept), kept, now)


def _ends(given_from: datetime | None, given_to: datetime | None) -> tuple[float, float, float]:
    now = time.time()
    last = now if given_to is None else given_to.timestamp()
    first = last - USUAL if given_from is None else given_from.timestamp()
    if first > last:
        raise Refused(422, "range_backwards", "`from` is after `to`", "exchange them")
    return first, last, now


def _steps(first: float, last: float, now: float, span: int, kept: Retention) -> Range:
    # Nothing is known from before what is kept, nor of what is to come but for clocks that are ahead.
    start = max(_floor(first, span), kept.oldest(DAY, now))
    end = min(-_floor(-last, span), _floor(now, DAY) + 2 * DAY)
    return Range(start, max(start, end), span)


def _bounded(found: Range, kept: Retention, now: float) -> Range:
    points = (found.end - found.start) // found.span
    if points <= MOST:
        return found
    coarser = next((name for name, span in STEPS.items() if (found.end - found.start) // span <= MOST), None)
    hint = f"ask with step={coarser}" if coarser else f"ask for at most {MOST} days at once"
    raise Refused(422, "too_many_points", f"that is {points} points, and there may be {MOST}", hint)


def _floor(seconds: float, span: int) -> int:
    whole = int(seconds // 1)
    return whole - whole % span
