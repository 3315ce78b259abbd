"""What `webhooks` takes and answers."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Query
from pydantic import Field, model_validator

from portico.identity import webhooks
from portico.services.events import DETECTION_COMPLETE
from portico.services.values import UUID, Body
from portico.services.views import Moment, View
from portico.services.webhooks.schedule import RETRIES

GRACE: Final = 86400  # seconds that a replaced secret signs beside the new one
Event = Literal["detection_complete", "batch_complete", "detection_failed", "rate_limit_exceeded", "webhook_disabled"]
Url = Annotated[str, Field(pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s\\]+$", max_length=2048)]
Few = Annotated[int, Query(ge=1, le=50, description="At most so many items")]
Given = Annotated[
    str,
    Field(
        pattern=r"^[\x21-\x7e]+$",
        min_length=webhooks.LEAST,
        max_length=100,
        description="whsec_ and the base64 of 24 to 64 bytes, or 24 to 64 characters that are the secret themselves",
    ),
]


class NewWebhook(Body):
    """A URL to be told of events."""

    url: Url
    events: Annotated[list[Event], Field(min_length=1, max_length=10)] = Field(default=[DETECTION_COMPLETE])
    secret_token: Given | None = Field(default=None, description="The secret that signs; one is made when left out")
    retry_count: int = Field(
        default=RETRIES, ge=0, le=10, description="How many steps of the schedule are used when attempts fail"
    )


class Test(Body):
    """What is to be tried: a registered webhook, or a URL."""

    id: Annotated[str, Field(pattern=f"^{UUID}$")] | None = None
    url: Url | None = Field(default=None, description="It is signed with the default secret")

    @model_validator(mode="after")
    def _one(self) -> Test:
        if (self.id is None) == (self.url is None):
            raise ValueError("give either id or url")
        return self


class RotateSecret(Body):
    """How to replace a secret."""

    grace_seconds: int = Field(
        default=GRACE, ge=0, le=30 * 86400, description="How long the old secret signs beside the new one"
    )


class Stats(View):
    """How a webhook does. Latency is that of all attempts, failed ones too."""

    delivered: int = Field(description="Attempts that succeeded")
    failed: int = Field(description="Attempts that did not")
    success_rate: float | None = Field(description="Of all attempts; null: there was none")
    mean_duration_ms: float | None
    pending: int = Field(description="Deliveries that wait")
    dropped: int = Field(description="Deliveries that were not made, since too many waited")
    last_success_at: Moment | None
    last_failure_at: Moment | None
    failing_since: Moment | None = Field(description="The first failure since the last success")


class WebhookView(View):
    """A webhook, without its secret."""

    id: str
    url: str
    events: list[str]
    retry_count: int
    created_at: Moment
    is_active: bool
    disabled_at: Moment | None
    disabled_for: str | None = Field(description="gone: it answered 410; failing: it had failed for five days")
    stats: Stats


class Registered(WebhookView):
    """A webhook that was just registered: the only time that its secret is shown."""

    secret: str = Field(description="What its messages are signed with. Keep it: it can't be shown again")


class NewSecret(View):
    """A secret that was just made: the only time that it is shown."""

    secret: str
    old_secret_expires_at: Moment = Field(description="Until then messages carry a signature of each")


class DefaultSecret(View):
    """Whether messages to URLs of single requests have a secret yet."""

    created_at: Moment | None


class AttemptView(View):
    """One call."""

    number: int
    at: Moment
    http_status: int | None = Field(description="null: there was no answer; `error` tells why")
    response_body: str = Field(description="At most 64 KiB of it; what is not UTF-8 is replaced")
    duration_ms: float
    error: str | None


class DeliveryView(View):
    """One event for one webhook. Its id is the webhook-id of every attempt."""

    id: str
    event: str
    state: Literal["pending", "succeeded", "failed"]
    created_at: Moment
    ended_at: Moment | None
    next_attempt_at: Moment | None
    attempts: list[AttemptView]


class Tested(View):
    """What came of a test."""

    delivered: bool
    delivery_id: str | None = Field(description="null when it was a URL: nothing is kept of that")
    attempt: AttemptView


class Replayed(View):
    """A delivery that is sent again."""

    id: str
    state: Literal["pending"]
