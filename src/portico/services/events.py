"""Telling callers of events by webhook: what any service may use. Get `Webhooks` from the container in `initialize`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from portico.identity.principal import Principal

DETECTION_COMPLETE: Final = "detection_complete"
BATCH_COMPLETE: Final = "batch_complete"
DETECTION_FAILED: Final = "detection_failed"
RATE_LIMIT_EXCEEDED: Final = "rate_limit_exceeded"
WEBHOOK_DISABLED: Final = "webhook_disabled"
TEST: Final = "test"
EVENTS: Final = (DETECTION_COMPLETE, BATCH_COMPLETE, DETECTION_FAILED, RATE_LIMIT_EXCEEDED, WEBHOOK_DISABLED)


@dataclass(frozen=True, slots=True)
class Limited:
    """So many requests of a caller were refused by a limit of its own; the limit's name is such as 600/minute."""

    tenant: str
    kind: str
    id: str
    limit: str
    count: int


class Webhooks(Protocol):
    """Queues webhooks in the caller's own transaction: they are sent when it is committed, and not at all otherwise."""

    async def owner(self, principal: Principal) -> str:
        """Whose webhooks a caller has; opens a session of its own."""
        ...

    async def emit(self, session: AsyncSession, tenant: str, owner: str, event: str, data: dict[str, Any]) -> list[str]:
        """Tell every endpoint of the owner that wants this event; the ids of the deliveries.

        Invalid when the payload is larger than 256 KiB.
        """
        ...

    async def emit_many(
        self, session: AsyncSession, tenant: str, owner: str, event: str, data: Sequence[dict[str, Any]]
    ) -> list[str]:
        """The same of many events of one kind, for little more than one costs."""
        ...

    async def check(self, url: str) -> None:
        """Refused (422) when a URL of a request can't be called as things are now; it is checked again at each call."""
        ...

    async def send_to(
        self, session: AsyncSession, tenant: str, owner: str, url: str, event: str, data: dict[str, Any]
    ) -> list[str]:
        """Tell one URL that a request has named, signed with the owner's default secret; the id of the delivery."""
        ...

    async def limited(self, session: AsyncSession, refused: Sequence[Limited]) -> None:
        """Tell the callers' endpoints that want RATE_LIMIT_EXCEEDED, each owner once a minute at most."""
        ...
