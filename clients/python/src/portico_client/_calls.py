"""What is sent for each method, and what its answer becomes: without a network, for both clients alike."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from portico_client import detection, models
from portico_client._decode import decode
from portico_client.errors import UnexpectedAnswer

Answer = TypeVar("Answer")
API = "/api/v1"


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request. `repeatable`: sending it twice is as good as once, whatever became of the first."""

    method: str
    path: str
    read: Callable[[Any], Answer]
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def repeatable(self) -> bool:
        return self.method == "GET" or "Idempotency-Key" in self.headers

    @property
    def content(self) -> bytes | None:
        # Escaped, so that whatever a text has arrives, and the gateway can say where it is wrong.
        return None if self.body is None else json.dumps(self.body, allow_nan=False).encode("ascii")


@dataclass(frozen=True)
class Page(Generic[Answer]):
    """Some items of a list; `following` is the cursor of the next page, "" after the last."""

    items: list[Answer]
    following: str


def detect(
    text: str,
    confidence_threshold: float | None,
    include_reasoning: bool,
    metadata: Mapping[str, Any] | None,
    webhook_url: str | None,
    fresh: bool,
) -> Call[models.Verdict]:
    """POST /api/v1/detect."""
    body = _question(text, confidence_threshold, include_reasoning, metadata, webhook_url)
    headers = {"Cache-Control": "no-cache"} if fresh else {}
    return Call("POST", f"{API}/detect", _of(models.Verdict), body, headers)


def detect_batch(items: Iterable[detection.BatchItem], webhook_url: str | None) -> Call[detection.Batch]:
    """POST /api/v1/detect/batch."""
    requests = [
        {"id": item.id, "text": item.text, **_config(item.confidence_threshold, item.include_reasoning)}
        for item in items
    ]
    body = _given({"requests": requests, "webhook_url": webhook_url})
    return Call("POST", f"{API}/detect/batch", detection.read_batch, body)


def detect_async(
    text: str,
    confidence_threshold: float | None,
    include_reasoning: bool,
    metadata: Mapping[str, Any] | None,
    webhook_url: str | None,
    idempotency_key: str | None,
) -> Call[detection.Accepted]:
    """POST /api/v1/detect/async; it always has an Idempotency-Key, so that trying again makes no second job."""
    body = _question(text, confidence_threshold, include_reasoning, metadata, webhook_url)
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return Call("POST", f"{API}/detect/async", _of(detection.Accepted), body, headers)


def job(job_id: str) -> Call[detection.Job]:
    """GET /api/v1/detect/jobs/{id}."""
    return Call("GET", f"{API}/detect/jobs/{_part(job_id)}", lambda value: detection.read_job(job_id, value))


def profile() -> Call[models.Profile]:
    """GET /api/v1/auth/profile."""
    return Call("GET", f"{API}/auth/profile", _of(models.Profile))


def rotate_own_key(grace_seconds: int) -> Call[models.RotatedKey]:
    """POST /api/v1/auth/rotate-key."""
    return Call("POST", f"{API}/auth/rotate-key", _of(models.RotatedKey), {"grace_seconds": grace_seconds})


def revoke_own_key() -> Call[None]:
    """DELETE /api/v1/auth/revoke."""
    return Call("DELETE", f"{API}/auth/revoke", _nothing)


def create_key(name: str, given: Mapping[str, Any]) -> Call[models.IssuedKey]:
    """POST /api/v1/admin/keys."""
    return Call("POST", f"{API}/admin/keys", _of(models.IssuedKey), {"name": name, **_given(given)})


def key(key_id: str) -> Call[models.Key]:
    """GET /api/v1/admin/keys/{id}."""
    return Call("GET", f"{API}/admin/keys/{_part(key_id)}", _of(models.Key))


def keys(tenant: str | None, limit: int | None, after: str) -> Call[Page[models.Key]]:
    """GET /api/v1/admin/keys."""
    return _list(f"{API}/admin/keys", models.Key, limit, after, tenant=tenant)


def rotate_key(key_id: str, grace_seconds: int) -> Call[models.RotatedKey]:
    """POST /api/v1/admin/keys/{id}/rotate."""
    path = f"{API}/admin/keys/{_part(key_id)}/rotate"
    return Call("POST", path, _of(models.RotatedKey), {"grace_seconds": grace_seconds})


def revoke_key(key_id: str) -> Call[None]:
    """DELETE /api/v1/admin/keys/{id}."""
    return Call("DELETE", f"{API}/admin/keys/{_part(key_id)}", _nothing)


def register_webhook(url: str, given: Mapping[str, Any]) -> Call[models.RegisteredWebhook]:
    """POST /api/v1/webhooks/register."""
    body = {"url": url, **_given(given)}
    return Call("POST", f"{API}/webhooks/register", _of(models.RegisteredWebhook), body)


def webhooks(limit: int | None, after: str) -> Call[Page[models.Webhook]]:
    """GET /api/v1/webhooks/list."""
    return _list(f"{API}/webhooks/list", models.Webhook, limit, after)


def test_webhook(webhook_id: str | None, url: str | None) -> Call[models.WebhookTest]:
    """POST /api/v1/webhooks/test."""
    body = _given({"id": webhook_id, "url": url})
    return Call("POST", f"{API}/webhooks/test", _of(models.WebhookTest), body)


def delete_webhook(webhook_id: str) -> Call[None]:
    """DELETE /api/v1/webhooks/{id}."""
    return Call("DELETE", f"{API}/webhooks/{_part(webhook_id)}", _nothing)


def rotate_secret(webhook_id: str, grace_seconds: int | None) -> Call[models.NewSecret]:
    """POST /api/v1/webhooks/{id}/rotate-secret."""
    path = f"{API}/webhooks/{_part(webhook_id)}/rotate-secret"
    return Call("POST", path, _of(models.NewSecret), _given({"grace_seconds": grace_seconds}))


def deliveries(webhook_id: str, limit: int | None, after: str) -> Call[Page[models.Delivery]]:
    """GET /api/v1/webhooks/{id}/deliveries."""
    return _list(f"{API}/webhooks/{_part(webhook_id)}/deliveries", models.Delivery, limit, after)


def replay(delivery_id: str) -> Call[models.Replayed]:
    """POST /api/v1/webhooks/deliveries/{id}/replay."""
    return Call("POST", f"{API}/webhooks/deliveries/{_part(delivery_id)}/replay", _of(models.Replayed))


def _question(
    text: str,
    confidence_threshold: float | None,
    include_reasoning: bool,
    metadata: Mapping[str, Any] | None,
    webhook_url: str | None,
) -> dict[str, Any]:
    more = {"metadata": metadata, "webhook_url": webhook_url}
    return {"text": text, **_config(confidence_threshold, include_reasoning), **_given(more)}


def _config(confidence_threshold: float | None, include_reasoning: bool) -> dict[str, Any]:
    given = _given({"confidence_threshold": confidence_threshold, "include_reasoning": include_reasoning or None})
    return {"config": given} if given else {}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _list(
    path: str, kind: type[Answer], limit: int | None, after: str, tenant: str | None = None
) -> Call[Page[Answer]]:
    query = urlencode(_given({"tenant": tenant, "limit": limit, "after": after or None}))

    def read(value: Any) -> Page[Answer]:
        if not isinstance(value, dict) or not isinstance(value.get("items"), list):
            raise UnexpectedAnswer("the answer is no page of a list")
        following = value.get("next_cursor") or ""
        if following and following == after:
            raise UnexpectedAnswer("the list goes round in a circle")
        return Page([decode(kind, item) for item in value["items"]], following)

    return Call("GET", f"{path}?{query}" if query else path, read)


def _of(kind: type[Answer]) -> Callable[[Any], Answer]:
    return lambda value: decode(kind, value)


def _nothing(value: Any) -> None:
    return None


def _part(text: str) -> str:
    """A segment of a path; the empty one and dots would lead to another path."""
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no id")
    return quote(text, safe="")
