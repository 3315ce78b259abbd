"""The limits that keys of the database bring along; no key of a route says so, `auth: [api_key]` does."""

from __future__ import annotations

from typing import Any

from portico.config.policies.by import limit_policy
from portico.contracts import COST, Policy


def policy(costs: int = 1) -> Policy:
    """The step that keeps a key to its own limits, before the route's. It takes no configuration.

    With `costs` above 1, a request is admitted as one, and counts what its answer says in COST, at most so many.
    """
    config: dict[str, Any] = {}
    if costs > 1:
        config["cost"] = {"from": f"header:{COST.lower()}", "estimate": 1, "most": costs}
    return limit_policy("key_limits", 5, config)
