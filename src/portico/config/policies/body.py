"""`body_bytes`: the largest request body."""

from __future__ import annotations

from pydantic import Field

from portico.config.base import Strict
from portico.config.scalars import Size
from portico.contracts import ADMIT, Policy


class Body(Strict):
    """A bound of its own for a route or layer."""

    body_bytes: Size | None = Field(default=None, description="Largest request body; null: server.limits.body_bytes")


def policy(limit: int) -> Policy:
    """The step that every route has. Its plain form: {"limit": bytes}."""
    return Policy("body", ADMIT, 30, "portico.edge.policies.body:build", {"limit": limit})
