"""LIMIT: so many requests a day. A day is from midnight to midnight, UTC."""

from __future__ import annotations

from typing import Any, Final

from portico.contracts import LIMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies.limits import Limit, store_of
from portico.edge.policies.store import Bucket, Store

DAY: Final = 86_400


class Quota(Limit):
    """The policy of one route. A bucket's `until` is the day after the one that its `count` is of."""

    def __init__(self, config: dict[str, Any], context: PolicyContext, store: Store) -> None:
        self.most = int(config["count"])
        super().__init__(config["name"], config["by"], f"q={self.most};w={DAY}", context)
        self.store = store

    def check(self, exchange: Exchange) -> Response | None:
        second = int(exchange.wall)
        today = second // DAY
        bucket = self.store.take(self.callers.key(exchange), today)
        # A clock that is set back does not give the day again.
        if bucket.until <= today:
            bucket.until = today + 1
            bucket.count = 0
        if bucket.count >= self.most:
            return self.refuse(exchange, self._answer(exchange, bucket, second))
        bucket.count += 1
        self.reserved(exchange, bucket, bucket.until)
        self.show(exchange, self.most - bucket.count, bucket.until * DAY - second)
        return None

    def peek(self, exchange: Exchange) -> Response | None:
        second = int(exchange.wall)
        bucket = self.store.look(self.callers.key(exchange))
        until = second // DAY + 1
        count = 0
        if bucket is not None and bucket.until >= until:
            until = bucket.until
            count = bucket.count
            if count >= self.most:
                return self._answer(exchange, bucket, second)
        self.show(exchange, self.most - count - 1, until * DAY - second)
        return None

    def give_back(self, bucket: Bucket, mark: int) -> None:
        if bucket.until == mark:
            bucket.count -= 1

    def _answer(self, exchange: Exchange, bucket: Bucket, second: int) -> Response:
        detail = f"the quota of {self.name} is used up"
        return self.answer(exchange, "quota_exceeded", detail, bucket.until * DAY - second)


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"count": n, "by": caller, "name": text}."""
    policy = Quota(config, context, store_of(context, "quota", config["name"], config["by"]))
    return Step("quota", LIMIT, policy.check, policy.peek)
