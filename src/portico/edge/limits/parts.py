"""One shared limit on one route: its numbers, what this worker knows of each caller, and its stand-in."""

from __future__ import annotations

import math
from collections import OrderedDict
from hashlib import sha256
from typing import Any, Final

from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response
from portico.edge.policies.limits import TICKS, Limit
from portico.edge.policies.quota import DAY, Quota
from portico.edge.policies.rate import Rate
from portico.edge.policies.store import Store
from portico.edge.policies.window import COUNT, Window

CAPACITY: Final = 100_000  # callers of a limit that a worker knows something about
SECOND: Final = 1_000_000  # microseconds
LEASE: Final = 0.5  # seconds until a lease lapses, at most
USED: Final = 0.8  # of that time it is used: clocks differ, and the worker counts from when it asked
FIRST_LEASED: Final = 64  # requests; doubled each time that they are used up within SPAN
MOST_LEASED: Final = 1024
QUARTER: Final = 4  # all leases together are at most a quarter of the limit
HOT: Final = 8  # asks within SPAN that make a caller hot
SPAN: Final = 0.25  # seconds
SLOTS_KEPT: Final = 60.0  # seconds that slots are remembered without being told again
DEBT: Final = 10**9  # beyond which no answer's cost counts
CODES: Final = {"rate": "rate_limited", "window": "window_exceeded", "quota": "quota_exceeded"}


class Entry:
    """What this worker knows of one caller of one limit. Times are monotonic seconds."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.remaining = 0  # of the lease
        self.until = 0.0  # when it lapses here
        self.serial = 0  # of the lease
        self.mark = 0
        self.leasing = False  # a lease is being asked for
        self.size = 0  # of the last lease
        self.leased = 0.0  # when it was granted
        self.left = -1  # at the store when it last answered; -1: never
        self.more_at = 0.0
        self.heard = 0.0
        self.epoch = ""  # in which it last answered
        self.began = 0.0
        self.asks = 0  # since `began`
        self.held = 0  # slots, by this worker
        self.owes: dict[int, int] = {}  # by mark: what requests that have ended took beyond their estimate, or less


class Alone:
    """What a worker grants by itself while the store is away: a limit in memory, made for one outage."""

    def __init__(self, limit: Limit, store: Store, since: float, share: int) -> None:
        self.limit = limit
        self.store = store
        self.since = since
        self.share = share


class Table:
    """The callers of one limit; outlives reloads. Those not seen for longest are forgotten, unless they hold slots."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.entries: OrderedDict[object, Entry] = OrderedDict()
        self.version = 0
        self.alone: Alone | None = None  # counts since the store went

    def entry(self, key: object) -> Entry:
        """What is known of a caller, begun if nothing is."""
        entry = self.entries.get(key)
        if entry is None:
            if len(self.entries) >= CAPACITY:
                old, oldest = self.entries.popitem(last=False)
                if oldest.held:
                    self.entries[old] = oldest
            kind, text = ("b", key) if isinstance(key, bytes) else ("s", str(key).encode())
            digest = sha256(b"\0".join([self.label.encode(), kind.encode(), text])).hexdigest()[:32]
            entry = self.entries[key] = Entry(digest)
        else:
            self.entries.move_to_end(key)
        return entry


class Part:
    """A limit as a gate asks for it. `mode`: what holds while the store is away (closed, open or share)."""

    def __init__(self, kind: str, config: dict[str, Any], context: PolicyContext, table: Table, workers: int) -> None:
        self.kind = kind
        self.config = config
        self.context = context
        self.table = table
        self.mode = str(config.get("on_store_failure", "share"))
        self.seconds = DAY if kind == "quota" else int(config.get("seconds", 0))
        self.most = int(config["burst"] if kind == "rate" else config["slots" if kind == "slots" else "count"])
        self.limit = Limit(config, self._policy(), context)
        self.limit.alone = False
        self.cost = self.limit.cost
        self.need = self.limit.need
        self.debt = DEBT if self.cost is not None else 0
        self.unit = self.seconds * SECOND
        self.lapse = LEASE
        if kind == "rate":
            self.unit = -(-self.seconds * SECOND // int(config["tokens"]))  # never faster than the rate
        elif kind == "window":
            self.lapse = min(LEASE, self.seconds / 60)
        self.lease = 0 if kind == "slots" else min(MOST_LEASED * self.need, self.most // (QUARTER * max(1, workers)))
        self.first = min(FIRST_LEASED * self.need, self.lease)
        self.leases = self.lease >= 2 * self.need
        self.lapse_units = int((SLOTS_KEPT if kind == "slots" else self.lapse) * SECOND)

    def _policy(self) -> str:
        if self.kind == "slots":
            return f'q={self.most};qu="concurrent-requests"'
        return f"q={self.config['tokens'] if self.kind == 'rate' else self.most};w={self.seconds}"

    def entry(self, exchange: Exchange) -> Entry:
        """What is known of the exchange's caller."""
        return self.table.entry(self.limit.callers.key(exchange))

    def show(self, exchange: Exchange, entry: Entry, now: float) -> None:
        """Tell an admitted caller how much was left when the store last answered, less what was used since."""
        if self.kind == "slots":
            exchange.response_fields += self.limit.head + b"%d" % entry.left
        else:
            self.limit.show(exchange, entry.left + entry.remaining, max(0, math.ceil(entry.more_at - now)))

    def refusal(self, exchange: Exchange, seconds: int) -> Response:
        """The 429 of this limit."""
        if self.kind == "slots":
            return self.limit.answer(exchange, "too_many_concurrent", f"{self.most} requests are under way already", 1)
        used = "the quota of {} is used up" if self.kind == "quota" else "more than {} were asked for"
        return self.limit.answer(exchange, CODES[self.kind], used.format(self.limit.name), seconds)

    def closed(self, exchange: Exchange) -> Response:
        """The 503 of a limit that admits nothing while it can't count."""
        detail = f"the limit {self.limit.name} can't be counted: the shared state does not answer"
        return exchange.problem(503, "limits_unavailable", detail, "try again in a moment", b"\r\nRetry-After: 1")

    # -- without the store

    def share(
        self, exchange: Exchange, entry: Entry, since: float, workers: int, looks: bool = False
    ) -> Response | None:
        """Count alone, and grant a part: the limit divided by the workers. The store is away `since` then."""
        share = self.most // max(1, workers)
        if self.kind == "slots":
            return None if entry.held < share else self.refusal(exchange, 1)
        if share < 1:
            return self.refusal(exchange, 1)
        alone = self.table.alone
        if alone is None or alone.since != since or alone.share != share:
            alone = self.table.alone = self._alone(share, since, workers)
        self._begin(alone, exchange, entry, workers)
        return alone.limit.peek(exchange) if looks else alone.limit.check(exchange)

    def _alone(self, share: int, since: float, workers: int) -> Alone:
        config = {**self.config, "count": share, "burst": share}
        store = Store()
        limit: Limit
        if self.kind == "rate":
            limit = Rate({**config, "seconds": self.seconds * workers}, self.context, store)
        elif self.kind == "window":
            limit = Window(config, self.context, store)
        else:
            limit = Quota(config, self.context, store)
            limit.ledger = None
        limit.alone = False
        return Alone(limit, store, since, share)

    def _begin(self, alone: Alone, exchange: Exchange, entry: Entry, workers: int) -> None:
        """A caller's first count since the store went: a rate has no tokens yet, others what is left of theirs."""
        key = self.limit.callers.key(exchange)
        if alone.store.look(key) is not None:
            return
        bucket = alone.store.take(key, 0)
        known = entry.left >= 0 and self._recent(entry, alone.since)
        used = alone.share - min(alone.share, entry.left // workers) if known else 0
        limit = alone.limit
        if isinstance(limit, Rate):
            bucket.until = int(alone.since * TICKS) * limit.scale + limit.most
        elif isinstance(limit, Window):
            part = int(alone.since * TICKS) * limit.times // limit.length
            bucket.cells = [part * COUNT + used] if used else []
            bucket.count = used
        else:
            bucket.until = int(exchange.wall) // DAY + 1
            bucket.count = used

    def _recent(self, entry: Entry, since: float) -> bool:
        return self.kind == "quota" or since - entry.heard <= self.seconds
