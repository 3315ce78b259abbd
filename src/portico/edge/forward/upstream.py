"""An upstream, as one exchange meets it: a target takes it, and another when that one can't."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any, Final

from portico import contracts
from portico.edge.exchange import Exchange, Response
from portico.edge.forward.balance import Hashed, make
from portico.edge.forward.breaker import CLOSED
from portico.edge.forward.pool import SLOW_START, Pool
from portico.edge.forward.retry import CONNECT, RESET, Retries
from portico.edge.record import UpstreamStats
from portico.edge.state import EdgeState
from portico.edge.tls import ClientTls
from portico.telemetry import logs

if TYPE_CHECKING:
    from portico.edge.forward.health import Checker
    from portico.edge.forward.resolve import Resolver

TRIED: Final = "upstream:tried"  # the exchange's note of the pools that have failed it

# Our own services are one process that the supervisor looks after: nothing is gained by leaving it alone, and its 503
# says what it says.
SERVICES_RETRIES: Final = ("connect", "reset")
NEVER: Final = 1 << 60


class Upstream:
    """The targets of one upstream and what is known of them. `pools` has one for each address of each target."""

    def __init__(self, spec: contracts.Upstream, state: EdgeState, stats: UpstreamStats) -> None:
        self.name = spec.name
        self.spec = spec
        self.services = spec.name == contracts.SERVICES
        self.stats = stats
        self.state = state
        self.tls: ClientTls | None = None  # set with every plan
        self.connect_timeout = spec.timeouts.connect
        self.max_connections = spec.pool.max_connections
        self.max_idle = spec.pool.max_idle
        self.breaker = contracts.Breaker(min_requests=NEVER) if self.services else spec.breaker
        self.retries = Retries(contracts.Retries(on=SERVICES_RETRIES) if self.services else spec.retries)
        self.balance = make(spec.balance, random.Random())
        self.pools = [Pool(target, self, "", target.weight) for target in spec.targets]
        self.only: Pool | None = None  # the one pool there is, while it takes requests
        self.sound = False  # all pools take requests, in full
        self.checker: Checker | None = None
        self.resolver: Resolver | None = None
        self.closed = False
        self._arrange()

    # -- an exchange's way

    def forward(self, exchange: Exchange) -> None:
        """Give the exchange to a target, or answer for all of them."""
        exchange.tries = 1
        route = exchange.route
        if route is not None and route.total > 0.0:
            exchange.total_deadline = exchange.now + route.total
        self.retries.recent.see(exchange.now)
        pool = self.pick(exchange)
        if pool is None:
            self.stats.count("upstream_unavailable")
            exchange.downstream.answer(exchange, self.unavailable(exchange))
        else:
            pool.give(exchange)

    def peek(self, exchange: Exchange) -> Pool | None:
        """The target that would take the exchange now, None when none can; no turn is taken (`portico explain`)."""
        now = time.monotonic()
        pools = [pool for pool in self.pools if pool.well()]
        due = [pool for pool in self.pools if pool.healthy and pool.breaker.due(now)]
        if due and not isinstance(self.balance, Hashed):
            return due[-1]
        pools += due
        return self.balance.peek(exchange, pools, now) if pools else None

    def unreachable(self, exchange: Exchange, pool: Pool, code: str, detail: str = "") -> None:
        """No connection to `pool` came about: nothing was sent, so any request may be tried once more."""
        if self.resolver is not None and pool.address:
            self.resolver.hurry()
        if exchange.trace is not None:
            exchange.trace.failed(code)
        other = self._sibling(exchange, pool) or self.another(exchange, pool, CONNECT)
        if other is not None:
            other.give(exchange)
        elif code == "upstream_timeout":
            self.refuse(exchange, 504, code, "the upstream did not accept a connection in time")
        else:
            self.refuse(exchange, 502, code, detail or "the upstream did not accept a connection")

    def broken(self, exchange: Exchange, pool: Pool, reused: bool) -> None:
        """The connection ended before an answer; a kept-alive one may have been closing already (RFC 9112 9.3.1)."""
        other = self.another(exchange, pool, RESET)
        trace = exchange.trace
        if trace is not None:
            trace.failed("upstream_reset")
        if reused and other is not None:
            pool.breaker.left(exchange)
        else:
            pool.failed(exchange)
        if other is None:
            self.refuse(exchange, 502, "upstream_reset", "the upstream closed the connection before it answered")
        elif reused:
            if trace is not None:
                trace.attempt(other.label)
            other.enqueue(exchange)  # its other idle connections may be closing as well
        else:
            other.give(exchange)

    def another(self, exchange: Exchange, pool: Pool, cause: int) -> Pool | None:
        """The pool that takes an exchange which `pool` has failed; None: it must not, or can't, be tried again.

        `cause` is CONNECT, RESET or the answer's status. Other targets come first, then this one once more, unless it
        could not even be reached.
        """
        retries = self.retries
        if not retries.allows(exchange, cause):
            return None
        now = time.monotonic()
        if not retries.affords(now, cause):
            return None
        other = self._choose(exchange, tried(exchange, pool))
        if other is None:
            if cause == CONNECT or not pool.well() or pool.retired:
                return None
            other = pool
        exchange.tries += 1
        retries.spend(now, cause)
        self.stats.count("retried")
        return other

    def refuse(self, exchange: Exchange, status: int, code: str, detail: str, fields: bytes = b"") -> None:
        """Answer for an upstream that can't."""
        self.stats.count(code)
        exchange.downstream.answer(exchange, self._in_its_place(exchange, status, code, detail, fields))

    def _in_its_place(self, exchange: Exchange, status: int, code: str, detail: str, fields: bytes) -> Response:
        hint = "try again; if it lasts, the operator should look at the upstream"
        if self.services:
            status, code, fields = 503, "services_unavailable", b"\r\nRetry-After: 1"
            detail = "Portico's own services are not answering"
            hint = "try again in a moment; proxied routes are not affected"
        return exchange.problem(status, code, detail, hint, fields)

    def unavailable(self, exchange: Exchange) -> Response:
        """What is answered when no target takes requests: it says when one may again."""
        now = time.monotonic()
        wait = math.inf
        for pool in self.pools:
            if pool.healthy:
                wait = min(wait, pool.breaker.until - now)
            elif self.spec.health is not None:
                wait = min(wait, self.spec.health.interval)
        seconds = min(3600, max(1, math.ceil(wait))) if wait < math.inf else 1
        detail = "no target of the upstream takes requests at the moment"
        return self._in_its_place(exchange, 503, "upstream_unavailable", detail, b"\r\nRetry-After: %d" % seconds)

    # -- choosing

    def pick(self, exchange: Exchange) -> Pool | None:
        """The pool whose turn it is; None when none takes requests."""
        if self.only is not None:
            return self.only
        return self.balance.next(exchange) if self.sound else self._choose(exchange, None)

    def _choose(self, exchange: Exchange, failed: list[Pool] | None) -> Pool | None:
        """A pool that takes requests, or that is due to be tried; not one of `failed`. None when there is none."""
        now = time.monotonic()
        pools: list[Pool] = []
        due: Pool | None = None
        keyed = isinstance(self.balance, Hashed)
        for pool in self.pools:
            if not pool.healthy or (failed is not None and pool in failed):
                continue
            if pool.breaker.state == CLOSED:
                pools.append(pool)
                if 0.0 < pool.recovered <= now - SLOW_START:
                    self._grown(pool)
            elif pool.breaker.due(now):
                due = pool
                if keyed:
                    pools.append(pool)
        if due is not None and (not pools or (failed is None and not keyed)):
            chosen = due
        elif pools:
            chosen = self.balance.among(exchange, pools, now)
        else:
            return None
        if chosen.breaker.state != CLOSED:
            chosen.breaker.start_probe(exchange)
        return chosen

    def _sibling(self, exchange: Exchange, pool: Pool) -> Pool | None:
        """Another address of the same target, while there is one not tried yet: that is no retry."""
        if not pool.address:
            return None
        failed = tried(exchange, pool)
        for other in self.pools:
            if other.target is pool.target and other.well() and other not in failed:
                return other
        return None

    # -- what is known of the targets

    def changed(self, what: str, pool: Pool) -> None:
        """A pool takes requests again, or does so no longer."""
        self._arrange()
        if not self.closed:
            level = "info" if pool.well() else "warning"
            told = logs.get("portico.edge")
            getattr(told, level)(f"a target {what}", upstream=self.name, target=pool.label.decode())

    def place(self, target: contracts.Target, addresses: list[str]) -> None:
        """The addresses that a target's name has now: those it had before keep their connections and their standing."""
        old = {pool.address: pool for pool in self.pools if pool.target is target}
        if list(old) == addresses or self.closed:
            return
        share = target.weight / len(addresses)
        new: list[Pool] = []
        for address in addresses:
            pool = old.pop(address) if address in old else Pool(target, self, address, share)
            pool.share = share
            new.append(pool)
        pools: list[Pool] = []
        for each in self.spec.targets:
            pools += new if each is target else [pool for pool in self.pools if pool.target is each]
        self.pools = pools
        self._arrange()
        for pool in old.values():
            pool.close()

    def report(self) -> dict[str, Any]:
        """What `portico status` shows."""
        return {"name": self.name, "targets": [pool.report() for pool in self.pools]}

    def _grown(self, pool: Pool) -> None:
        pool.recovered = 0.0
        self._arrange()

    def _arrange(self) -> None:
        pools = self.pools
        only = pools[0] if len(pools) == 1 else None
        self.only = only if only is not None and only.well() else None
        self.sound = True
        for pool in pools:
            if not pool.well() or pool.recovered > 0.0:
                self.sound = False
        if self.balance.pools != pools:
            self.balance.arrange(pools)

    # -- its own tasks

    def start(self) -> None:
        """Begin to look for names' addresses and to ask targets for their health."""
        if self.resolver is not None:
            self.resolver.start()
        if self.checker is not None:
            self.checker.start()

    def close(self) -> None:
        """Close what is idle; connections in use close when their exchange ends."""
        self.closed = True
        if self.resolver is not None:
            self.resolver.stop()
        if self.checker is not None:
            self.checker.stop()
        for pool in self.pools:
            pool.close()


def tried(exchange: Exchange, pool: Pool) -> list[Pool]:
    """The pools that have failed the exchange, this one among them from now on."""
    failed: list[Pool] = exchange.notes.setdefault(TRIED, [])
    if pool not in failed:
        failed.append(pool)
    return failed
