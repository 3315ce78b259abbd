"""What gateways answer. Made by tools/generate_clients.py from the OpenAPI document: change that, not this.

A newer gateway may answer with more fields, which are dropped here, and with words that no `Literal` has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Threat = Literal[
    "jailbreak", "system_prompt_leak", "injection", "data_extraction", "encoding_attack", "delimiter_attack"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on the text of one request."""

    is_malicious: bool
    """`confidence` has reached the threshold."""
    confidence: float
    threat_types: list[Threat]
    """Empty unless malicious."""
    reason: str
    """What was found and where; empty unless asked for, or nobody judged in time."""
    processing_time_ms: float
    cache_hit: bool
    engine: str
    """Who judged: an engine by its name, or `embedded`."""
    degraded: bool
    """The embedded detector stood in for an engine, or nobody judged in time."""
    request_id: str
    metadata: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileUsage:
    """What the caller had, as of a few seconds ago."""

    requests_today: int
    """Since midnight, UTC."""
    errors_today: int
    """Of these, answered with 4xx or 5xx."""
    requests_this_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The caller, whatever it is. What a kind of caller does not have is null."""

    kind: Literal["key", "person", "device"]
    id: str
    name: str
    tenant: str
    roles: list[str]
    permissions: list[str]
    """All that the caller may do, that of its roles included."""
    usage: ProfileUsage
    email: str | None = None
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    is_active: bool = True
    rate_limit_per_minute: int | None = None
    rate_limit_per_day: int | None = None
    hint: str | None = None
    """The key's first characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key, without the key. A limit that is 0 or empty is none."""

    id: str
    name: str
    owner: str | None
    """Id of a person."""
    tenant: str
    permissions: list[str]
    rate_limit_per_minute: int
    rate_limit_per_day: int
    window: str
    rate: str
    burst: int
    quota: str
    networks: list[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    """Of a rotated key: the end of its grace."""
    is_active: bool
    """Neither revoked nor expired."""
    hint: str
    """The key's first characters."""
    replaces: str | None
    """Id of the key whose successor this is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A key that was just issued: the only time that it is shown."""

    id: str
    name: str
    owner: str | None
    """Id of a person."""
    tenant: str
    permissions: list[str]
    rate_limit_per_minute: int
    rate_limit_per_day: int
    window: str
    rate: str
    burst: int
    quota: str
    networks: list[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    """Of a rotated key: the end of its grace."""
    is_active: bool
    """Neither revoked nor expired."""
    hint: str
    """The key's first characters."""
    replaces: str | None
    """Id of the key whose successor this is."""
    key: str = field(repr=False)
    """The key itself. Keep it: it can't be shown again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedKey:
    """The new key, and until when the old one works."""

    id: str
    name: str
    owner: str | None
    """Id of a person."""
    tenant: str
    permissions: list[str]
    rate_limit_per_minute: int
    rate_limit_per_day: int
    window: str
    rate: str
    burst: int
    quota: str
    networks: list[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    """Of a rotated key: the end of its grace."""
    is_active: bool
    """Neither revoked nor expired."""
    hint: str
    """The key's first characters."""
    replaces: str | None
    """Id of the key whose successor this is."""
    key: str = field(repr=False)
    """The key itself. Keep it: it can't be shown again."""
    old_key_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookStats:
    """How a webhook does. Latency is that of all attempts, failed ones too."""

    delivered: int
    """Attempts that succeeded."""
    failed: int
    """Attempts that did not."""
    success_rate: float | None
    """Of all attempts; null: there was none."""
    mean_duration_ms: float | None
    pending: int
    """Deliveries that wait."""
    dropped: int
    """Deliveries that were not made, since too many waited."""
    last_success_at: datetime | None
    last_failure_at: datetime | None
    failing_since: datetime | None
    """The first failure since the last success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A webhook, without its secret."""

    id: str
    url: str
    events: list[str]
    retry_count: int
    created_at: datetime
    is_active: bool
    disabled_at: datetime | None
    disabled_for: str | None
    """gone: it answered 410; failing: it had failed for five days."""
    stats: WebhookStats


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredWebhook:
    """A webhook that was just registered: the only time that its secret is shown."""

    id: str
    url: str
    events: list[str]
    retry_count: int
    created_at: datetime
    is_active: bool
    disabled_at: datetime | None
    disabled_for: str | None
    """gone: it answered 410; failing: it had failed for five days."""
    stats: WebhookStats
    secret: str = field(repr=False)
    """What its messages are signed with. Keep it: it can't be shown again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A secret that was just made: the only time that it is shown."""

    secret: str = field(repr=False)
    old_secret_expires_at: datetime
    """Until then messages carry a signature of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call."""

    number: int
    at: datetime
    http_status: int | None
    """null: there was no answer; `error` tells why."""
    response_body: str
    """At most 64 KiB of it; what is not UTF-8 is replaced."""
    duration_ms: float
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one webhook. Its id is the webhook-id of every attempt."""

    id: str
    event: str
    state: Literal["pending", "succeeded", "failed"]
    created_at: datetime
    ended_at: datetime | None
    next_attempt_at: datetime | None
    attempts: list[Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTest:
    """What came of a test."""

    delivered: bool
    delivery_id: str | None
    """null when it was a URL: nothing is kept of that."""
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A delivery that is sent again."""

    id: str
    state: Literal["pending"]
