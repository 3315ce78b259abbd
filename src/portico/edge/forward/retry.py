"""When a request may be tried again: it is safe, its failure is one of those named, and there is budget left."""

from __future__ import annotations

from typing import Final

from portico import contracts
from portico.edge.exchange import Exchange
from portico.edge.forward.rolling import Rolling

IDEMPOTENT: Final = frozenset([b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"])  # RFC 9110 9.2.2
CONNECT: Final = 1  # no connection came about: no byte of the request was sent
RESET: Final = 2  # the connection ended before an answer; any other cause is the answer's status
SPAN: Final = 10.0  # seconds over which retries are weighed against requests
FLOOR: Final = 10  # retries a second that are always in the budget


class Retries:
    """The rule of one upstream: at most `budget` of the last ten seconds' requests, and ten a second besides.

    A request that could not even be sent (CONNECT) costs the budget nothing: no target has worked on it, and another
    target only gets what would have been its share anyway. `attempts` bounds such tries. A budget of 0 forbids all.
    """

    def __init__(self, spec: contracts.Retries) -> None:
        self.attempts = spec.attempts
        self.budget = spec.budget
        self.causes: set[int] = set()
        for cause in spec.on:
            self.causes.add(CONNECT if cause == "connect" else RESET if cause == "reset" else int(cause))
        self.recent = Rolling(SPAN)
        self.second = 0
        self.floor = 0  # retries in that second

    def allows(self, exchange: Exchange, cause: int) -> bool:
        """Whether the rule permits another try, the budget aside."""
        if exchange.tries > self.attempts or exchange.responding or cause not in self.causes:
            return False
        return cause == CONNECT or repeatable(exchange)

    def affords(self, now: float, cause: int) -> bool:
        """Whether the budget has one more."""
        if self.budget <= 0.0:
            return False
        if cause == CONNECT:
            return True
        self.recent.turn(now)
        if self.recent.total_marked() + 1 <= self.budget * self.recent.total():
            return True
        return int(now) != self.second or self.floor < FLOOR

    def spend(self, now: float, cause: int) -> None:
        """A request is tried again."""
        if cause == CONNECT:
            return
        self.recent.mark()
        second = int(now)
        if second != self.second:
            self.second = second
            self.floor = 0
        self.floor += 1


def repeatable(exchange: Exchange) -> bool:
    """Whether the request may reach an upstream twice: idempotent, and without a body, for that is gone once sent."""
    return exchange.length == 0 and exchange.method in IDEMPOTENT
