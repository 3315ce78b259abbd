"""How webhooks and their deliveries look to their owners."""

from __future__ import annotations

from typing import Any

from portico.services.webhooks.schedule import Called
from portico.services.webhooks.schemas import AttemptView, DeliveryView, Stats, WebhookView
from portico.storage.webhooks import Attempt, Delivery, Endpoint


def webhook_view(endpoint: Endpoint) -> WebhookView:
    """The view of a webhook."""
    return WebhookView(**endpoint_fields(endpoint))


def endpoint_fields(endpoint: Endpoint) -> dict[str, Any]:
    """The fields of a webhook's view."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "retry_count": endpoint.retry_count,
        "created_at": endpoint.created_at,
        "is_active": endpoint.disabled_at is None,
        "disabled_at": endpoint.disabled_at,
        "disabled_for": endpoint.disabled_for or None,
        "stats": _stats(endpoint),
    }


def delivery_view(delivery: Delivery) -> DeliveryView:
    """The view of a delivery with its attempts."""
    return DeliveryView(
        id=delivery.id,
        event=delivery.event,
        state=delivery.state,  # type: ignore[arg-type]  # one of the three
        created_at=delivery.created_at,
        ended_at=delivery.ended_at,
        next_attempt_at=delivery.next_at,
        attempts=[_attempt(each) for each in delivery.attempts],
    )


def tried(called: Called) -> AttemptView:
    """A call that was just made."""
    return _attempt(Attempt(1, called.at, called.status, called.body, called.seconds, called.error))


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        at=attempt.at,
        http_status=attempt.http_status,
        response_body=attempt.response_body.decode("utf-8", "replace"),
        duration_ms=round(attempt.seconds * 1000, 2),
        error=attempt.error or None,
    )


def _stats(endpoint: Endpoint) -> Stats:
    attempts = endpoint.delivered + endpoint.failed
    return Stats(
        delivered=endpoint.delivered,
        failed=endpoint.failed,
        success_rate=round(endpoint.delivered / attempts, 4) if attempts else None,
        mean_duration_ms=round(endpoint.seconds / attempts * 1000, 2) if attempts else None,
        pending=endpoint.pending,
        dropped=endpoint.dropped,
        last_success_at=endpoint.last_success_at,
        last_failure_at=endpoint.last_failure_at,
        failing_since=endpoint.failing_since,
    )
