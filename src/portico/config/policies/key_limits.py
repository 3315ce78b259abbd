"""The limits that keys of the database bring along; no key of a route says so, `auth: [api_key]` does."""

from __future__ import annotations

from portico.config.policies.by import limit_policy
from portico.contracts import Policy


def policy() -> Policy:
    """The step that keeps a key to its own limits, before the route's. It takes no configuration."""
    return limit_policy("key_limits", 5, {})
