"""LIMIT: so many requests at the same time. A slot is held until the exchange has ended, however it ends."""

from __future__ import annotations

from typing import Any

from portico.contracts import LIMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies.limits import SHARED, Limit, slots_of, step_of
from portico.edge.policies.store import Slots


class Concurrent(Limit):
    """The policy of one route."""

    def __init__(self, config: dict[str, Any], context: PolicyContext, slots: Slots) -> None:
        self.most = int(config["slots"])
        super().__init__(config, f'q={self.most};qu="concurrent-requests"', context)
        self.slots = slots
        self.note = f"slot:{id(self)}"  # a route may have several of these limits, even of one name

    def check(self, exchange: Exchange) -> Response | None:
        key = self.callers.key(exchange)
        held = self.slots.held.get(key, 0)
        if held >= self.most:
            return self.refuse(exchange, self._answer(exchange))
        self.slots.held[key] = held + 1
        exchange.notes[self.note] = key
        exchange.response_fields += self.head + b"%d" % (self.most - held - 1)
        return None

    def peek(self, exchange: Exchange) -> Response | None:
        held = self.slots.held.get(self.callers.key(exchange), 0)
        if held >= self.most:
            return self._answer(exchange)
        exchange.response_fields += self.head + b"%d" % (self.most - held - 1)
        return None

    def settle(self, exchange: Exchange) -> None:
        """Free the slot, if this exchange still holds one."""
        notes = exchange.notes
        if self.note in notes:
            self.slots.free(notes.pop(self.note))

    def _answer(self, exchange: Exchange) -> Response:
        detail = f"{self.most} requests are under way already"
        return self.answer(exchange, "too_many_concurrent", detail, 1)


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"slots": n, "by": caller, "name": text}."""
    shared = context.shared.get(SHARED)
    if shared is not None:
        return step_of(shared, "concurrent", config, context)
    policy = Concurrent(config, context, slots_of(context, config["name"], config["by"]))
    return Step("concurrent", LIMIT, policy.check, policy.peek, policy.settle)
