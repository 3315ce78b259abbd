"""TRANSFORM: header fields set, added and removed on the way to the upstream and back."""

from __future__ import annotations

from typing import Any

from portico.contracts import TRANSFORM
from portico.edge.context import PolicyContext
from portico.edge.edit import Edit
from portico.edge.exchange import Exchange, Response, Step


class Headers:
    """The policy of one route. The edits are made when the heads are written, behind those of earlier policies."""

    def __init__(self, request: Edit | None, response: Edit | None) -> None:
        self.request = request
        self.response = response

    def check(self, exchange: Exchange) -> Response | None:
        if self.request is not None:
            exchange.request_edit = self.request.after(exchange.request_edit)
        if self.response is not None:
            exchange.response_edit = self.response.after(exchange.response_edit)
        return None


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"request": edits, "response": edits}, edits {"set": {}, "add": {}, "remove": []}."""
    policy = Headers(_edit(config.get("request")), _edit(config.get("response")))
    return Step("headers", TRANSFORM, policy.check, policy.check)


def _edit(spec: dict[str, Any] | None) -> Edit | None:
    if not spec or not (spec.get("set") or spec.get("add") or spec.get("remove")):
        return None
    return Edit(dict(spec.get("set") or {}), dict(spec.get("add") or {}), list(spec.get("remove") or []))
