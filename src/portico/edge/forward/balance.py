"""Which target takes a request: in turn, the less busy of two, or the one that a key belongs to."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from hashlib import blake2b
from typing import Final

from portico.edge.exchange import Exchange
from portico.edge.forward.pool import Pool

LONGEST_ORDER: Final = 1000  # turns that are laid out beforehand
POINTS: Final = 256  # on the ring, for a target of average weight: shares come out within some 6 %
POINT: Final = 8  # bytes of a point
DIGEST: Final = 64  # bytes, of which each makes eight points


class Balance:
    """Chooses among the pools that it was last given by `arrange`."""

    def __init__(self) -> None:
        self.pools: list[Pool] = []

    def arrange(self, pools: list[Pool]) -> None:
        """Take these from now on; never none."""
        self.pools = pools

    def next(self, exchange: Exchange) -> Pool:
        """The pool for a request while all are well."""
        raise NotImplementedError

    def among(self, exchange: Exchange, pools: list[Pool], now: float) -> Pool:
        """The pool for a request when only these (never none) can take it."""
        raise NotImplementedError

    def peek(self, exchange: Exchange, pools: list[Pool], now: float) -> Pool:
        """The pool that would be next among these (never none), or one of the likely; nothing changes."""
        return self.among(exchange, pools, now)


class RoundRobin(Balance):
    """In turn: with weights 2 and 1, a b a, smoothly and not a a b."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[Pool] = []
        self.turn = 0

    def arrange(self, pools: list[Pool]) -> None:
        self.pools = pools
        self.order = [pools[index] for index in turns([pool.share for pool in pools])]
        self.turn = 0

    def next(self, exchange: Exchange) -> Pool:
        order = self.order
        if not order:
            return self.among(exchange, self.pools, exchange.now)
        turn = self.turn
        self.turn = turn + 1 if turn + 1 < len(order) else 0
        return order[turn]

    def among(self, exchange: Exchange, pools: list[Pool], now: float) -> Pool:
        total = 0.0
        best = pools[0]
        for pool in pools:
            share = pool.share_now(now)
            total += share
            pool.credit += share
            if pool.credit > best.credit:
                best = pool
        best.credit -= total
        return best

    def peek(self, exchange: Exchange, pools: list[Pool], now: float) -> Pool:
        if self.order and len(pools) == len(self.pools):
            return self.order[self.turn]
        best = pools[0]
        for pool in pools:
            if pool.credit + pool.share_now(now) > best.credit + best.share_now(now):
                best = pool
        return best


class LeastRequests(Balance):
    """The less busy of two taken at random, each in proportion to its weight."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.equal = True

    def arrange(self, pools: list[Pool]) -> None:
        self.pools = pools
        self.equal = True
        for pool in pools:
            if pool.share != pools[0].share:
                self.equal = False

    def next(self, exchange: Exchange) -> Pool:
        pools = self.pools
        if not self.equal:
            return self.among(exchange, pools, exchange.now)
        count = len(pools)
        one = int(self.chance.random() * count)
        other = int(self.chance.random() * (count - 1))
        if other >= one:
            other += 1
        if other < count and pools[other].outstanding() < pools[one].outstanding():
            return pools[other]
        return pools[one]

    def among(self, exchange: Exchange, pools: list[Pool], now: float) -> Pool:
        shares = [pool.share_now(now) for pool in pools]
        one = self._draw(shares)
        if len(pools) == 1:
            return pools[one]
        share = shares[one]
        shares[one] = 0.0
        other = self._draw(shares)
        if pools[other].outstanding() * share < pools[one].outstanding() * shares[other]:
            return pools[other]
        return pools[one]

    def _draw(self, shares: list[float]) -> int:
        """The number of one of them, each as likely as its share is large; those without a share are left out."""
        left = self.chance.random() * sum(shares)
        last = 0
        for index in range(len(shares)):
            if shares[index] > 0.0:
                last = index
                left -= shares[index]
                if left < 0.0:
                    break
        return last


class Hashed(Balance):
    """The same target for the same key, on a ring of points: when a target leaves, only its own keys move.

    `source` is client, header:NAME or cookie:NAME. A request without the key goes in turn. Slow start doesn't apply.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        kind, _, name = source.partition(":")
        self.kind = kind
        self.name = name.lower().encode() if kind == "header" else name.encode()
        self.others = RoundRobin()
        self.points: list[int] = []
        self.owners: list[Pool] = []

    def arrange(self, pools: list[Pool]) -> None:
        self.pools = pools
        self.others.arrange(pools)
        mean = sum([pool.share for pool in pools]) / len(pools)
        owned: list[tuple[int, int]] = []
        for index in range(len(pools)):
            count = max(1, round(POINTS * pools[index].share / mean))
            for point in points_of(pools[index].identity, count):
                owned.append((point, index))
        owned.sort()
        self.points = [point for point, _ in owned]
        self.owners = [pools[index] for _, index in owned]

    def next(self, exchange: Exchange) -> Pool:
        key = self.key(exchange)
        if not key:
            return self.others.next(exchange)
        return self.owners[self._place(key)]

    def among(self, exchange: Exchange, pools: list[Pool], now: float) -> Pool:
        key = self.key(exchange)
        if not key:
            return self.others.among(exchange, pools, now)
        owners = self.owners
        at = self._place(key)
        for _ in range(len(owners)):
            if owners[at] in pools:
                return owners[at]
            at = at + 1 if at + 1 < len(owners) else 0
        return pools[0]

    def peek(self, exchange: Exchange, pools: list[Pool], now: float) -> Pool:
        return self.among(exchange, pools, now) if self.key(exchange) else self.others.peek(exchange, pools, now)

    def key(self, exchange: Exchange) -> bytes:
        """What the request's target depends on, or empty."""
        if self.kind == "client":
            return exchange.client
        if self.kind == "header":
            return exchange.field(self.name) or b""
        return cookie(exchange.field(b"cookie") or b"", self.name)

    def _place(self, key: bytes) -> int:
        place = bisect_right(self.points, int.from_bytes(blake2b(key, digest_size=POINT).digest(), "big"))
        return place if place < len(self.points) else 0


def points_of(identity: bytes, count: int) -> list[int]:
    """`count` points of a ring of 2^64, the same for the same identity everywhere; more begin with fewer."""
    points: list[int] = []
    number = 0
    while len(points) < count:
        digest = blake2b(b"%d %b" % (number, identity), digest_size=DIGEST).digest()
        for at in range(0, DIGEST, POINT):
            points.append(int.from_bytes(digest[at : at + POINT], "big"))
        number += 1
    return points[:count]


def cookie(header: bytes, name: bytes) -> bytes:
    """The value of a cookie in a Cookie field (RFC 6265 5.4), or empty."""
    for pair in header.split(b";"):
        key, mark, value = pair.strip().partition(b"=")
        if mark and key == name:
            return value
    return b""


def turns(shares: list[float]) -> list[int]:
    """The order in which targets take turns, by smooth weighted round robin over one period.

    Empty when that would be longer than LONGEST_ORDER, or the shares are not whole.
    """
    weights = [int(share) for share in shares]
    for index in range(len(shares)):
        if weights[index] != shares[index]:
            return [] if min(shares) != max(shares) else list(range(len(shares)))
    common = math.gcd(*weights)
    weights = [weight // common for weight in weights]
    total = sum(weights)
    if total > LONGEST_ORDER:
        return []
    current = [0] * len(weights)
    order: list[int] = []
    for _ in range(total):
        best = 0
        for index in range(len(weights)):
            current[index] += weights[index]
            if current[index] > current[best]:
                best = index
        current[best] -= total
        order.append(best)
    return order


def make(spec: str, chance: random.Random) -> Balance:
    """What `balance` says: round_robin, least_requests, hash:client, hash:header:NAME or hash:cookie:NAME."""
    if spec == "least_requests":
        return LeastRequests(chance)
    if spec.startswith("hash:"):
        return Hashed(spec[len("hash:") :])
    return RoundRobin()
