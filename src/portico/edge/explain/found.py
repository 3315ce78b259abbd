"""What a step found out: the difference that it made to the exchange, in sentences."""

from __future__ import annotations

from portico.edge.exchange import Exchange
from portico.edge.explain.mask import mask_line
from portico.edge.policies.require import WHY


class Before:
    """What an exchange held before a step was asked."""

    def __init__(self, exchange: Exchange) -> None:
        self.request_id = exchange.request_id
        self.principal = exchange.principal
        self.body_limit = exchange.body_limit
        self.request_fields = exchange.request_fields
        self.response_fields = exchange.response_fields
        self.request_edit = exchange.request_edit
        self.response_edit = exchange.response_edit

    def changes(self, exchange: Exchange) -> list[str]:
        """What has changed since."""
        found: list[str] = []
        if exchange.request_id != self.request_id:
            kept = exchange.field(b"x-request-id") == exchange.request_id
            found.append("the request id is the client's" if kept else "a request id is made")
        principal = exchange.principal
        if principal is not None and principal is not self.principal:
            roles = f", roles {', '.join(principal.roles)}" if principal.roles else ""
            found.append(f"the caller is {principal.kind} {principal.id} of tenant {principal.tenant}{roles}")
        found += exchange.notes.pop(WHY, [])
        if exchange.body_limit != self.body_limit:
            found.append(f"bodies of up to {exchange.body_limit} bytes are taken")
        if exchange.request_edit is not self.request_edit or exchange.request_fields != self.request_fields:
            found.append("changes the request's fields")
        if exchange.response_edit is not self.response_edit:
            found.append("changes the answer's fields")
        return found + added(self.response_fields, exchange.response_fields)


def added(before: bytes, after: bytes) -> list[str]:
    """The field lines that came at the end, as they may be shown."""
    if not after.startswith(before):
        return []
    return [mask_line(line).decode("latin-1") for line in after[len(before) :].split(b"\r\n") if line]
