"""What questions about usage are answered with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

NONE: Final = (0,) * 14


@dataclass(frozen=True, slots=True)
class Counts:
    """Some requests, summed. `buckets` counts them by latency, `micros` is the sum of their times in microseconds."""

    requests: int = 0
    client_errors: int = 0  # answered with 4xx
    server_errors: int = 0  # with 5xx
    bytes_in: int = 0
    bytes_out: int = 0
    micros: int = 0
    buckets: tuple[int, ...] = NONE

    @property
    def errors(self) -> int:
        """Those answered with 4xx or 5xx."""
        return self.client_errors + self.server_errors


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Some texts that were judged, summed. `confidence` is their sum, in millionths."""

    texts: int = 0
    malicious: int = 0
    confidence: int = 0
    degraded: int = 0  # judged by the embedded detector in the place of an engine
    cached: int = 0  # answered from the cache
    guarded: int = 0  # judged for a route's guard
    guarded_malicious: int = 0


def judged(verdicts: Iterable[Verdicts]) -> Verdicts:
    """The sum of all."""
    several = list(verdicts)
    return Verdicts(
        sum(each.texts for each in several),
        sum(each.malicious for each in several),
        sum(each.confidence for each in several),
        sum(each.degraded for each in several),
        sum(each.cached for each in several),
        sum(each.guarded for each in several),
        sum(each.guarded_malicious for each in several),
    )


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of all."""
    several = list(counts)
    return Counts(
        sum(each.requests for each in several),
        sum(each.client_errors for each in several),
        sum(each.server_errors for each in several),
        sum(each.bytes_in for each in several),
        sum(each.bytes_out for each in several),
        sum(each.micros for each in several),
        tuple(map(sum, zip(NONE, *(each.buckets for each in several), strict=True))),
    )


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one caller or one route had in a span of time. `name` is a key's id, a principal or a route."""

    subject: int  # its number
    name: str
    kind: str  # the caller's; a route's method
    tenant: str  # "" of a route
    requests: int
    errors: int
    bytes_in: int
    bytes_out: int
    micros: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """A page of those that had most, and how many there are on all pages."""

    items: list[Ranked]
    count: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request in detail."""

    number: int
    at: datetime
    request_id: str
    tenant: str
    kind: str
    key_id: str
    principal: str
    route: str
    method: str
    path: str
    status: int
    code: str
    micros: int
    bytes_in: int
    bytes_out: int
    client: str
