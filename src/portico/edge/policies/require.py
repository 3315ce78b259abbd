"""AUTHORIZE: which permissions the caller needs; all of them. What no grant covers is denied."""

from __future__ import annotations

from typing import Any, Final

from portico.contracts import AUTHORIZE
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.identity.principal import Principal
from portico.identity.roles import Roles

WHY: Final = "why"  # the note in which a look leaves sentences for `portico explain`


class Require:
    """The policy of one route. Without a principal nothing is permitted."""

    def __init__(self, permissions: list[str], roles: Roles) -> None:
        self.permissions = permissions
        self.roles = roles

    def check(self, exchange: Exchange) -> Response | None:
        principal = exchange.principal
        for permission in self.permissions:
            if principal is None or not principal.allows(permission):
                return self._refusal(exchange, permission)
        return None

    def peek(self, exchange: Exchange) -> Response | None:
        """As check, and notes which grant covers each permission, or what grants there are when none does."""
        principal = exchange.principal
        exchange.notes[WHY] = [] if principal is None else [self._told(principal, each) for each in self.permissions]
        return self.check(exchange)

    def _told(self, principal: Principal, permission: str) -> str:
        grant = principal.covering(permission)
        if not grant:
            granted = ", ".join(principal.permissions[:20]) or "none"
            return f"{permission} is covered by no grant; the caller has: {granted}"
        role = self.roles.granting(principal.roles, grant)
        return f"{permission} is covered by the grant {grant}" + (f" of the role {role}" if role else "")

    def _refusal(self, exchange: Exchange, permission: str) -> Response:
        detail = f"the caller lacks the permission {permission}"
        hint = f"use credentials that have {permission}, or ask the operator to grant it"
        challenge = f'\r\nWWW-Authenticate: Bearer realm="portico", error="insufficient_scope", scope="{permission}"'
        return exchange.problem(403, "permission_missing", detail, hint, challenge.encode())


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"permissions": ["noun:verb[:instance]"]}."""
    policy = Require(list(config["permissions"]), Roles(context.snapshot.identity.roles))
    return Step("require", AUTHORIZE, policy.check, policy.peek)
