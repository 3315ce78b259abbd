"""What questions about usage are answered with. Latencies are milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from portico.services.views import Moment, View
from portico.storage.usage.records import Counts, Verdicts
from portico.storage.webhooks import Fared, Numbers
from portico.telemetry.latency import quantile

Step = Literal["minute", "hour", "day"]
By = Literal["requests", "errors", "bytes_in", "bytes_out"]
Format = Literal["json", "csv"]
MILLION: Final = 1_000_000


class Requests(View):
    """Some requests, summed. Latencies are null where there were none."""

    requests: int
    errors: int = Field(description="Answered with 4xx or 5xx")
    client_errors: int = Field(description="Answered with 4xx")
    server_errors: int = Field(description="Answered with 5xx")
    bytes_in: int
    bytes_out: int
    mean: float | None = Field(description="Milliseconds to the end of the answer")
    p50: float | None = Field(description="Milliseconds; interpolated within a bucket of latencies, as p95 and p99")
    p95: float | None
    p99: float | None = Field(description="10000 is ten seconds or more")


class Texts(View):
    """Some texts that were judged, summed."""

    detections: int = Field(description="Texts that were judged: a batch has many, a guarded request one or two")
    malicious: int = Field(description="Of them, those that were found malicious")
    malicious_share: float | None = Field(description="From 0 to 1; null: no text was judged")
    confidence: float | None = Field(description="Mean of the verdicts, from 0 to 1")
    degraded: int = Field(description="Texts that were judged in the place of an engine that did not answer")
    cache_hits: int = Field(description="Texts that were answered from the cache")
    guarded: int = Field(description="Of the texts, those that guards of routes have judged: requests and answers")
    guarded_malicious: int = Field(description="Of these, those that were found malicious")


class Sums(Texts, Requests):
    """Some requests and the texts that came with them, summed."""


class Point(Sums):
    """The requests of one step."""

    at: Moment = Field(description="When the step begins")


class EngineUsage(Texts):
    """What one engine has judged."""

    engine: str = Field(description="Its name, or `embedded`")


class KeyUsage(View):
    """What one key, or another caller, had in a range of time."""

    key_id: str
    start: Moment = Field(serialization_alias="from", description="When the first step begins")
    end: Moment = Field(serialization_alias="to", description="When the last step ends")
    step: Step
    totals: Sums
    engines: list[EngineUsage] = Field(description="Who has judged texts, by name")
    series: list[Point]


class CallerUsage(View):
    """What one caller had in a range of time."""

    key_id: str = Field(description="Of people and devices, their name; empty: nobody in particular")
    kind: str
    tenant: str
    requests: int
    errors: int
    bytes_in: int
    bytes_out: int
    mean: float | None = Field(description="Milliseconds")


class UsagePage(View):
    """Callers, those that had most first."""

    start: Moment = Field(serialization_alias="from")
    end: Moment = Field(serialization_alias="to")
    count: int = Field(description="How many there are on all pages")
    items: list[CallerUsage]
    next_cursor: str | None = Field(description="`after` for the next page; null: this was the last")


class TopRoute(View):
    """A route by its name in the configuration, and a method."""

    route: str
    method: str
    requests: int
    errors: int
    bytes_in: int
    bytes_out: int
    mean: float | None = Field(description="Milliseconds")


class KeyNumbers(View):
    """How many keys there are."""

    total: int = Field(description="Issued and neither revoked nor expired")
    new: int = Field(description="Issued in the range")
    active: int = Field(description="Used in the range; those of the configuration too")


class PeopleNumbers(View):
    """How many people there are."""

    total: int
    active: int = Field(description="Called in the range")


class Delivering(View):
    """Attempts to deliver webhooks, since they were registered."""

    delivered: int
    failed: int
    delivery_rate: float | None = Field(description="From 0 to 1; null: none was attempted")
    mean: float | None = Field(description="Milliseconds of an attempt")


class HookNumbers(View):
    """A webhook with failures."""

    id: str
    host: str
    attempts: Delivering


class WebhookNumbers(View):
    """How many webhooks there are now, and how they fared."""

    endpoints: int
    disabled: int
    pending: int = Field(description="Deliveries that wait")
    attempts: Delivering
    worst: list[HookNumbers] = Field(description="Those with most failures")


class Now(View):
    """The gateway at this moment."""

    version: str
    uptime: float = Field(description="Seconds")
    in_flight: int = Field(description="Requests, as the edges last told")


class Stats(View):
    """What a tenant, or the whole gateway, had in a range of time."""

    tenant: str | None = Field(description="null: all of them")
    start: Moment = Field(serialization_alias="from")
    end: Moment = Field(serialization_alias="to")
    totals: Sums
    error_rate: float = Field(description="Errors of all requests, from 0 to 1")
    refusals: dict[str, int] = Field(description="Requests answered with 401, 403 and 429")
    keys: KeyNumbers
    people: PeopleNumbers
    webhooks: WebhookNumbers
    engines: list[EngineUsage] = Field(description="Who has judged texts, by name")
    top_routes: list[TopRoute]
    top_keys: list[CallerUsage]
    step: Step | None
    series: list[Point] | None = Field(description="Where a step was asked for")
    now: Now | None = Field(description="Told to those who see all tenants")


class RequestView(View):
    """One request in detail."""

    at: Moment
    request_id: str
    key_id: str
    kind: str
    tenant: str
    route: str
    method: str
    path: str = Field(description="Without its query, and with what must not be read made unreadable")
    status: int
    code: str = Field(description="Why it was refused or went wrong; empty: it did not")
    latency: float = Field(description="Milliseconds")
    bytes_in: int
    bytes_out: int
    client: str


def webhooks(found: Numbers) -> WebhookNumbers:
    """The view of how webhooks fared."""
    return WebhookNumbers(
        endpoints=found.endpoints,
        disabled=found.disabled,
        pending=found.pending,
        attempts=_delivering(found.attempts),
        worst=[HookNumbers(id=each.id, host=each.host, attempts=_delivering(each)) for each in found.worst],
    )


def _delivering(fared: Fared) -> Delivering:
    tried = fared.delivered + fared.failed
    return Delivering(
        delivered=fared.delivered,
        failed=fared.failed,
        delivery_rate=round(fared.delivered / tried, 6) if tried else None,
        mean=round(fared.seconds / tried * 1000, 3) if tried else None,
    )


def sums(counts: Counts, texts: Verdicts) -> Sums:
    """The view of a sum."""
    return Sums(**_sums(counts), **_texts(texts))


def point(at: Any, counts: Counts, texts: Verdicts) -> Point:
    """The view of one step."""
    return Point(at=at, **_sums(counts), **_texts(texts))


def engines(found: Mapping[str, Verdicts]) -> list[EngineUsage]:
    """The views of what engines have judged, by name."""
    return [EngineUsage(engine=name, **_texts(texts)) for name, texts in sorted(found.items())]


def mean(requests: int, micros: int) -> float | None:
    """Milliseconds; None without requests."""
    return round(micros / requests / 1000, 3) if requests else None


def _sums(counts: Counts) -> dict[str, Any]:
    shares = {name: quantile(counts.buckets, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return {
        "requests": counts.requests,
        "errors": counts.errors,
        "client_errors": counts.client_errors,
        "server_errors": counts.server_errors,
        "bytes_in": counts.bytes_in,
        "bytes_out": counts.bytes_out,
        "mean": mean(counts.requests, counts.micros),
        **{name: None if value is None else round(value * 1000, 3) for name, value in shares.items()},
    }


def _texts(texts: Verdicts) -> dict[str, Any]:
    count = texts.texts
    return {
        "detections": count,
        "malicious": texts.malicious,
        "malicious_share": round(texts.malicious / count, 6) if count else None,
        "confidence": round(texts.confidence / count / MILLION, 6) if count else None,
        "degraded": texts.degraded,
        "cache_hits": texts.cached,
        "guarded": texts.guarded,
        "guarded_malicious": texts.guarded_malicious,
    }
