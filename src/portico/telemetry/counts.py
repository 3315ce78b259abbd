"""What one services process counts, and how it tells the supervisor, who adds up all of them for /metrics.

What there may be is in COUNTERS and HISTOGRAMS: names without `portico_`, with their labels. A label's value is a word
out of the source or the configuration, never what a client sends: each new one is kept for good.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # as the edge's

COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "outbound_calls": (
        "Calls to addresses outside, by what they were for and what came of them.",
        ("purpose", "outcome"),
    ),
    "job_attempts": ("Attempts at background jobs, by kind and what came of them.", ("kind", "outcome")),
    "detection_engine_calls": ("Texts that an engine was asked about, by what came of it.", ("engine", "outcome")),
    "detection_degraded": (
        "Texts that engines did not judge, by what was answered: embedded, flag, allow, block.",
        ("answer",),
    ),
    "detection_reviews_lost": ("Flagged texts that could not be kept for review.", ()),
    "webhook_attempts": ("Attempts to deliver a webhook, by what came of them.", ("outcome",)),
    "webhook_deliveries": ("Webhooks that are not tried any more: succeeded or failed.", ("state",)),
    "detection_cache": ("Texts to be judged, by what the cache had to do with it.", ("outcome",)),
    "detection_reviews": ("Texts for people to judge, by what became of them.", ("outcome",)),
}
HISTOGRAMS: Final[Mapping[str, tuple[str, str]]] = {
    "detection_engine_seconds": ("Seconds that an engine took for a text, with retries.", "engine"),
    "job_seconds": ("Seconds from the claim of a background job to the end of the attempt.", "kind"),
    "outbound_seconds": ("Seconds that a call to an address outside took.", "purpose"),
}

# What every process measures of the same things: the largest of their values is shown.
GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "detection_engine_ejected": ("Whether an engine is left alone because it failed: 1, else 0.", ("engine",)),
    "jobs": ("Background jobs that are not over, and dead letters (under no queue).", ("queue", "state")),
    "jobs_oldest_seconds": ("How long the oldest queued background job has waited.", ()),
}


class Counts:
    """Counters and histograms of this process since it began, and what it measured last.

    `apart`: of a process that no supervisor asks for its report; its counters go into sums that others show.
    """

    def __init__(self, *, apart: bool = False) -> None:
        self.apart = apart
        self._elsewhere: dict[tuple[str, ...], int] = {}
        self._counters: dict[tuple[str, ...], int] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: dict[tuple[str, str], float] = {}
        self._gauges: dict[str, dict[tuple[str, ...], float]] = {}

    def add(self, name: str, labels: tuple[str, ...], count: int = 1) -> None:
        """Count up one of COUNTERS."""
        key = (name, *labels)
        self._counters[key] = self._counters.get(key, 0) + count

    def observe(self, name: str, label: str, seconds: float) -> None:
        """One duration more in one of HISTOGRAMS."""
        key = (name, label)
        buckets = self._buckets.setdefault(key, [0] * (len(BOUNDS) + 1))
        buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[key] = self._seconds.get(key, 0.0) + seconds

    def gauge(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """All values of one of GAUGES by their labels, as they are now."""
        self._gauges[name] = dict(values)

    def counted(self) -> dict[tuple[str, ...], int]:
        """Every counter, by its name and labels."""
        return dict(self._counters)

    def elsewhere(self, counted: Mapping[tuple[str, ...], int]) -> None:
        """What all processes that are `apart` have counted, as `counted` has it."""
        self._elsewhere = dict(counted)

    def report(self) -> dict[str, Any]:
        """All of it, as `portico.telemetry.metrics` adds it up."""
        return {
            "bounds": list(BOUNDS),
            "services": [[*key, count] for key, count in self._counters.items()],
            "workers": [[*key, count] for key, count in self._elsewhere.items()],
            "services_seconds": [
                [":".join(key), buckets, self._seconds[key], sum(buckets)] for key, buckets in self._buckets.items()
            ],
            "services_gauges": [
                [name, *labels, value] for name, values in self._gauges.items() for labels, value in values.items()
            ],
        }
