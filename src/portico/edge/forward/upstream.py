"""An upstream: which of its targets takes an exchange, and what happens when that target can't."""

from __future__ import annotations

from typing import Final

from portico import contracts
from portico.edge.exchange import UNKNOWN_LENGTH, Exchange
from portico.edge.forward.pool import Pool
from portico.edge.record import UpstreamStats
from portico.edge.state import EdgeState

IDEMPOTENT: Final = frozenset([b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"])  # RFC 9110 9.2.2
ATTEMPTS: Final = 2  # the first and one more


class Upstream:
    """The targets of one upstream, taken in turn by weight."""

    def __init__(self, spec: contracts.Upstream, state: EdgeState, stats: UpstreamStats) -> None:
        self.name = spec.name
        self.services = spec.name == contracts.SERVICES
        self.stats = stats
        self.state = state
        self.connect_timeout = spec.timeouts.connect
        self.max_connections = spec.pool.max_connections
        self.max_idle = spec.pool.max_idle
        self.pools = [Pool(target, self) for target in spec.targets]
        self.turns = turns([target.weight for target in spec.targets])
        self.turn = 0

    def forward(self, exchange: Exchange) -> None:
        """Give the exchange to the next target."""
        exchange.tries += 1
        turn = self.turn
        self.turn = turn + 1 if turn + 1 < len(self.turns) else 0
        self.pools[self.turns[turn]].take(exchange)

    def unreachable(self, exchange: Exchange, code: str) -> None:
        """No connection came about: nothing was sent, so any request may be tried once more."""
        if exchange.tries < ATTEMPTS and len(self.pools) > 1:
            self.forward(exchange)
        elif code == "upstream_timeout":
            self.refuse(exchange, 504, code, "the upstream did not accept a connection in time")
        else:
            self.refuse(exchange, 502, code, "the upstream did not accept a connection")

    def broken(self, exchange: Exchange, reused: bool) -> None:
        """The connection ended before any answer; a kept-alive one may have been closing already (RFC 9112 9.3.1)."""
        safe = exchange.method in IDEMPOTENT and exchange.length == 0
        if reused and safe and exchange.tries < ATTEMPTS:
            self.forward(exchange)
        else:
            self.refuse(exchange, 502, "upstream_reset", "the upstream closed the connection before it answered")

    def refuse(self, exchange: Exchange, status: int, code: str, detail: str) -> None:
        """Answer for an upstream that can't."""
        self.stats.count(code)
        hint = "try again; if it lasts, the operator should look at the upstream"
        fields = b""
        if self.services:
            status, code, fields = 503, "services_unavailable", b"\r\nRetry-After: 1"
            detail = "Portico's own services are not answering"
            hint = "try again in a moment; proxied routes are not affected"
        response = exchange.problem(status, code, detail, hint, fields)
        exchange.downstream.answer(exchange, response)

    def close(self) -> None:
        """Close what is idle; connections in use close when their exchange ends."""
        for pool in self.pools:
            pool.close()


def turns(weights: list[int]) -> list[int]:
    """The order in which targets take turns: smooth weighted round robin over one period."""
    current = [0] * len(weights)
    total = sum(weights)
    order: list[int] = []
    for _ in range(total):
        best = 0
        for index, weight in enumerate(weights):
            current[index] += weight
            if current[index] > current[best]:
                best = index
        current[best] -= total
        order.append(best)
    return order


def has_body(exchange: Exchange) -> bool:
    """Whether the request carries a body."""
    return exchange.length > 0 or exchange.length == UNKNOWN_LENGTH
