"""When a schedule is due: cron in a time zone, or an interval. Pure functions of moments.

Cron is read as Debian's is (man 5 crontab), by cronsim. Where clocks are put forward, a time that does not exist that
day is run at the first moment after the gap; where they are put back, a time that comes twice is run the first time.
What is to run each minute or hour (a field that begins with `*`) goes on through both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from portico.errors import Invalid

MISSED: Final = ("skip", "once", "all")
LEAST: Final = 1.0  # seconds
MOST: Final = 366 * 86400.0
LONGEST: Final = 100  # characters of a cron expression
TWICE: Final = 4  # tries to get past an hour that comes twice


@dataclass(frozen=True, slots=True)
class Timing:
    """By `cron` in `zone`, or `every` so many seconds from `origin`."""

    cron: str
    zone: str
    every: float
    origin: datetime


def check(cron: str, zone: str, every: float, jitter: float, missed: str) -> None:
    """Invalid names what can't be."""
    if bool(cron) == bool(every):
        raise Invalid("cron", "and every_seconds: one of them must be given")
    if every and not LEAST <= every <= MOST:
        raise Invalid("every_seconds", "must be from 1 second to 366 days")
    if not 0 <= jitter <= 86400.0:
        raise Invalid("jitter_seconds", "must be from 0 to a day")
    if missed not in MISSED:
        raise Invalid("missed", f"must be one of {', '.join(MISSED)}")
    try:
        ZoneInfo(zone)
    except Exception:  # whatever it makes of a name that is none: ValueError, an OSError, a KeyError
        raise Invalid("time_zone", "must be a name such as Europe/Berlin") from None
    if cron:
        try:
            if len(cron) > LONGEST:
                raise CronSimError("too long")
            next(CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration, OverflowError):
            text = "must have five fields, such as 30 2 * * 1-5, or six with seconds before them; and come to pass"
            raise Invalid("cron", text) from None


def following(timing: Timing, after: datetime) -> datetime | None:
    """The first due time after a moment, in UTC; None: never again."""
    if timing.every:
        passed = (after - timing.origin).total_seconds() // timing.every
        return timing.origin + timedelta(seconds=(max(passed, -1.0) + 1) * timing.every)
    times = CronSim(timing.cron, after.astimezone(ZoneInfo(timing.zone)))
    for _ in range(TWICE):
        found = next(times, None)
        if found is None:
            return None
        due = found.astimezone(UTC)
        if due > after:
            return due
    return following(timing, after + timedelta(hours=1))


def preceding(timing: Timing, until: datetime, first: datetime, most: int) -> list[datetime]:
    """The due times from `first` to `until`, oldest first: at most the last `most` of them."""
    found: list[datetime] = []
    if timing.every:
        passed = (until - timing.origin).total_seconds() // timing.every
        while len(found) < most and (due := timing.origin + timedelta(seconds=passed * timing.every)) >= first:
            found.append(due)
            passed -= 1
        return found[::-1]
    moment = until.astimezone(ZoneInfo(timing.zone)) + timedelta(seconds=1)
    for each in CronSim(timing.cron, moment, reverse=True):
        due = each.astimezone(UTC)
        if due < first or len(found) == most:
            break
        if due <= until:
            found.append(due)
    return found[::-1]
