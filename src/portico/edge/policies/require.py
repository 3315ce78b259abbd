"""AUTHORIZE: which permissions the caller needs; all of them."""

from __future__ import annotations

from typing import Any

from portico.contracts import AUTHORIZE
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step


class Require:
    """The policy of one route. Without a principal nothing is permitted."""

    def __init__(self, permissions: list[str]) -> None:
        self.permissions = permissions

    def check(self, exchange: Exchange) -> Response | None:
        principal = exchange.principal
        for permission in self.permissions:
            if principal is None or not principal.allows(permission):
                detail = f"the caller lacks the permission {permission}"
                hint = f"use credentials that have {permission}, or ask the operator to grant it"
                return exchange.problem(403, "permission_missing", detail, hint)
        return None


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"permissions": ["noun:verb[:instance]"]}."""
    policy = Require(list(config["permissions"]))
    return Step("require", AUTHORIZE, policy.check, policy.check)
