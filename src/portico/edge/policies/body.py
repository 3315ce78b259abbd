"""ADMIT: how large a request body may be. A body of unknown length is counted while it comes."""

from __future__ import annotations

from typing import Any

from portico.contracts import ADMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step


class Body:
    """The policy of one route; `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def check(self, exchange: Exchange) -> Response | None:
        exchange.body_limit = self.limit
        if exchange.length <= self.limit:
            return None
        detail = f"the body exceeds {self.limit} bytes"
        hint = "send a smaller body, or ask the operator for a larger body_bytes"
        return exchange.problem(413, "body_too_large", detail, hint)


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"limit": bytes}."""
    policy = Body(int(config["limit"]))
    return Step("body", ADMIT, policy.check, policy.check)
