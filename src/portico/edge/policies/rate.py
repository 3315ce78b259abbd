"""LIMIT: a rate with bursts, by the generic cell rate algorithm (ITU-T I.371, virtual scheduling).

A bucket of `burst` requests refills at `tokens` a `seconds`: at most burst + tokens / seconds · T requests pass in any
span of T seconds. What is kept is the time at which the bucket will be full again; a request moves it on by the time
that one request takes to refill, and is refused if that would put it further ahead than a whole bucket takes. What a
request turns out to have cost beyond its estimate moves it on further than that: a debt, which refills first.

The arithmetic is exact: the clock is read in ticks of 2⁻³⁰ s, and times are counted in 1/p of a tick, where p/q is the
rate in lowest terms, so that one request is q · 2³⁰ units. Nothing is ever rounded after the clock.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from portico.contracts import LIMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies.limits import SHARED, TICKS, Limit, step_of, store_of
from portico.edge.policies.store import Bucket, Store


class Rate(Limit):
    """The policy of one route."""

    def __init__(self, config: dict[str, Any], context: PolicyContext, store: Store) -> None:
        tokens = config["tokens"]
        seconds = config["seconds"]
        super().__init__(config, f"q={tokens};w={seconds}", context)
        rate = Fraction(tokens) / Fraction(seconds)
        self.store = store
        self.scale = rate.numerator  # units a tick
        self.token = rate.denominator * TICKS  # units of one
        self.step = self.token * self.need  # of a request
        self.most = int(config["burst"]) * self.token
        self.second = self.scale * TICKS

    def check(self, exchange: Exchange) -> Response | None:
        now = int(exchange.now * TICKS) * self.scale
        bucket = self.store.take(self.callers.key(exchange), now)
        start = bucket.until
        if start < now:
            start = now
        full = start + self.step
        ahead = full - now
        if ahead > self.most:
            return self.refuse(exchange, self._answer(exchange, ahead))
        bucket.until = full
        self.reserved(exchange, bucket, start)
        self.show(exchange, (self.most - ahead) // self.token, -(-ahead // self.second))
        return None

    def peek(self, exchange: Exchange) -> Response | None:
        now = int(exchange.now * TICKS) * self.scale
        bucket = self.store.look(self.callers.key(exchange))
        ahead = self.step if bucket is None else max(bucket.until - now, 0) + self.step
        if ahead > self.most:
            return self._answer(exchange, ahead)
        self.show(exchange, (self.most - ahead) // self.token, -(-ahead // self.second))
        if self.cost is not None:
            self.cost.explain(exchange)
        return None

    def give_back(self, bucket: Bucket, mark: int) -> None:
        if bucket.until == mark + self.step:
            bucket.until = mark

    def correct(self, exchange: Exchange, bucket: Bucket, mark: int, more: int) -> None:
        now = int(exchange.ended * TICKS) * self.scale
        current = self.store.take(self.callers.key(exchange), now)
        if more > 0:
            current.until = max(current.until, now) + more * self.token
        elif current is bucket:  # else it was full again, and forgotten
            bucket.until += more * self.token

    def _answer(self, exchange: Exchange, ahead: int) -> Response:
        wait = -((self.most - ahead) // self.second)
        return self.answer(exchange, "rate_limited", f"more than {self.name} were asked for", wait)


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"tokens": n, "seconds": s, "burst": n, "by": caller, "name": text}; "cost": see `cost.Cost`."""
    shared = context.shared.get(SHARED)
    if shared is not None:
        return step_of(shared, "rate", config, context)
    unit = f"{config['tokens']}/{config['seconds']}"
    policy = Rate(config, context, store_of(context, "rate", config["name"], config["by"], unit))
    return Step("rate", LIMIT, policy.check, policy.peek, policy.settle if policy.cost is not None else None)
