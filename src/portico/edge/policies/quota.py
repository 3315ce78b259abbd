"""LIMIT: so many requests a day. A day is from midnight to midnight, UTC.

Counts are kept across restarts: by the process's ledger, where it has one.
"""

from __future__ import annotations

from typing import Any, Final

from portico.contracts import LIMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies.limits import SHARED, Limit, step_of, store_of
from portico.edge.policies.store import Bucket, Store

DAY: Final = 86_400
MOST: Final = 2**31 - 1  # that a count ever is: so much fits into the ledger
LEDGER: Final = "ledger"  # in the context's `shared`


class Quota(Limit):
    """The policy of one route. A bucket's `until` is the day after the one that its `count` is of."""

    def __init__(self, config: dict[str, Any], context: PolicyContext, store: Store) -> None:
        self.most = int(config["count"])
        super().__init__(config, f"q={self.most};w={DAY}", context)
        self.store = store
        self.ledger: Any = context.shared.get(LEDGER)
        self.label = f"{context.route.name}\0{config['name']}\0{config['by']}"  # in the ledger

    def check(self, exchange: Exchange) -> Response | None:
        second = int(exchange.wall)
        today = second // DAY
        key = self.callers.key(exchange)
        bucket = self.store.take(key, today)
        self._begin(bucket, key, today)
        if bucket.count + self.need > self.most:
            return self.refuse(exchange, self._answer(exchange, bucket.until, second))
        bucket.count += self.need
        self._note(bucket, key)
        self.reserved(exchange, bucket, bucket.until)
        self.show(exchange, self.most - bucket.count, bucket.until * DAY - second)
        return None

    def peek(self, exchange: Exchange) -> Response | None:
        second = int(exchange.wall)
        key = self.callers.key(exchange)
        bucket = self.store.look(key)
        until = second // DAY + 1
        count = 0 if self.ledger is None else self.ledger.look(self.label, key, until - 1)
        if bucket is not None and bucket.until >= until:
            until = bucket.until
            count = bucket.count
        if count + self.need > self.most:
            return self._answer(exchange, until, second)
        self.show(exchange, self.most - count - self.need, until * DAY - second)
        if self.cost is not None:
            self.cost.explain(exchange)
        return None

    def give_back(self, bucket: Bucket, mark: int) -> None:
        if bucket.until == mark:
            bucket.count -= self.need

    def correct(self, exchange: Exchange, bucket: Bucket, mark: int, more: int) -> None:
        today = int(exchange.wall + exchange.ended - exchange.now) // DAY
        key = self.callers.key(exchange)
        current = self.store.take(key, today)
        if more > 0:
            self._begin(current, key, today)
            current.count = min(MOST, current.count + more)
        elif current is bucket and bucket.until == mark:  # else its day is over
            bucket.count = max(0, bucket.count + more)
        self._note(current, key)

    def _begin(self, bucket: Bucket, key: object, today: int) -> None:
        """Begin the day, if it is new. A clock that is set back does not give it again."""
        if bucket.until <= today:
            bucket.until = today + 1
            bucket.count = 0 if self.ledger is None else self.ledger.count(self.label, key, today)
            bucket.saved = bucket.count

    def _note(self, bucket: Bucket, key: object) -> None:
        if self.ledger is not None and not bucket.listed:
            self.ledger.note(self.label, key, bucket)

    def _answer(self, exchange: Exchange, until: int, second: int) -> Response:
        detail = f"the quota of {self.name} is used up"
        return self.answer(exchange, "quota_exceeded", detail, until * DAY - second)


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"count": n, "by": caller, "name": text}; "cost": see `cost.Cost`."""
    shared = context.shared.get(SHARED)
    if shared is not None:
        return step_of(shared, "quota", config, context)
    policy = Quota(config, context, store_of(context, "quota", config["name"], config["by"]))
    return Step("quota", LIMIT, policy.check, policy.peek, policy.settle if policy.cost is not None else None)
