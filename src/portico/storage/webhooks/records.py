"""Webhooks as others see them. Times are aware, durations seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

REGISTERED: Final = "registered"
REQUEST: Final = "request"
PENDING: Final = "pending"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
GONE: Final = "gone"  # it answered 410
FAILING: Final = "failing"  # it had failed for days


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A registered URL. `delivered` and `failed` count attempts, `seconds` is what all of them took."""

    id: str
    tenant: str
    owner: str
    url: str
    events: tuple[str, ...]
    retry_count: int
    created_at: datetime
    disabled_at: datetime | None
    disabled_for: str
    failing_since: datetime | None
    pending: int
    dropped: int
    delivered: int
    failed: int
    seconds: float
    last_success_at: datetime | None
    last_failure_at: datetime | None


@dataclass(frozen=True, slots=True)
class Target:
    """Where deliveries go, and what signs them; as the job that delivers needs it."""

    id: str
    tenant: str
    owner: str
    kind: str
    url: str
    retry_count: int
    failing_since: datetime | None
    secrets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose time has come. `attempts` were made before, `step` of them failed since it was queued."""

    id: str
    event: str
    url: str
    body: bytes
    attempts: int
    step: int
    traceparent: str | None = None  # of what has caused it


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one attempt. `state` is the delivery's from now on; `next_at` is when it is tried again."""

    delivery: str
    number: int
    at: datetime
    http_status: int | None
    response_body: bytes
    seconds: float
    error: str
    succeeded: bool
    state: str
    step: int
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call, as it was."""

    number: int
    at: datetime
    http_status: int | None
    response_body: bytes
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, and every attempt."""

    id: str
    event: str
    state: str
    created_at: datetime
    ended_at: datetime | None
    next_at: datetime | None
    attempts: tuple[Attempt, ...]
