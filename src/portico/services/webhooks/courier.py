"""One call: signed, guarded, ten seconds at most, of the answer 64 KiB."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

from portico.errors import Invalid, OutboundError
from portico.identity import webhooks
from portico.outbound import Bounds, Client
from portico.outbound.meter import outcome
from portico.services.views import moment
from portico.services.webhooks.schedule import Called, retry_after
from portico.storage.ids import now
from portico.storage.webhooks import Due
from portico.telemetry import tracing
from portico.telemetry.counts import Counts
from portico.telemetry.tracing.process import Tracing

PAYLOAD: Final = 256 * 1024  # bytes
BOUNDS: Final = Bounds(total=10.0, connect=5.0, body=64 * 1024, redirects=0)
PURPOSE: Final = "webhook"


def payload(event: str, data: dict[str, Any]) -> bytes:
    """The body of a webhook, as Standard Webhooks has it: `type`, `timestamp`, `data`. Invalid above 256 KiB."""
    made = {"type": event, "timestamp": moment(now()), "data": data}
    body = json.dumps(made, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > PAYLOAD:
        raise Invalid("data", f"makes a webhook larger than {PAYLOAD // 1024} KiB")
    return body


class Courier:
    """Makes the calls."""

    def __init__(self, client: Client, counts: Counts, traces: Tracing | None = None) -> None:
        self._client = client
        self._counts = counts
        self._traces = traces

    async def deliver(self, url: str, due: Due, secrets: Sequence[bytes]) -> Called:
        """`call`, as a part of what has caused the delivery: of a trace the receiver is told that one."""
        parent = due.traceparent or ""
        span = (
            self._traces.continued(parent.encode(), f"deliver {due.event}", tracing.PRODUCER) if self._traces else None
        )
        with span or nullcontext():
            told = tracing.traceparent() if span is not None else parent
            return await self.call(url, due.id, due.body, secrets, told)

    async def call(
        self, url: str, message: str, body: bytes, secrets: Sequence[bytes], traceparent: str = ""
    ) -> Called:
        """Send `body` as the message with this id. Never raises: what went wrong is in the answer."""
        at, began = now(), time.perf_counter()
        stamp = int(at.timestamp())
        headers = {
            "Content-Type": "application/json",
            webhooks.ID: message,
            webhooks.TIMESTAMP: str(stamp),
            webhooks.SIGNATURE: webhooks.sign(secrets, message, stamp, body),
        }
        if traceparent:
            headers["traceparent"] = traceparent
        try:
            answer = await self._client.request(
                "POST", url, headers=headers, body=body, bounds=BOUNDS, purpose=PURPOSE, cut=True
            )
        except OutboundError as error:
            self._counts.add("webhook_attempts", (outcome(error),))
            return Called(at, None, b"", time.perf_counter() - began, str(error))
        called = Called(
            at,
            answer.status,
            answer.body,
            time.perf_counter() - began,
            again=retry_after(answer.header("retry-after"), now()),
        )
        self._counts.add("webhook_attempts", ("delivered" if called.succeeded else outcome(answer.status),))
        return called
