"""The request id of every request; it has nothing to configure."""

from __future__ import annotations

from portico.contracts import IDENTIFY, Policy


def policy() -> Policy:
    """The step that every route has."""
    return Policy("request_id", IDENTIFY, 10, "portico.edge.policies.request_id:build", {})
