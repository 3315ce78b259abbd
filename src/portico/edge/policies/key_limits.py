"""LIMIT: what a key of the database may use by itself, on all routes together.

A key's `window` or `per_minute` never admits more in any such span, its `rate` with `burst` does as GCRA, its `quota`
or `per_day` counts a UTC day. They are the same limits as a route's, asked before those. A key that has replaced
another goes on with its counts. Where several edge workers share no store, each grants its share, at least 1:
together never more than the key may have, if that is not less than there are workers.

On a route whose requests may count as several, each is admitted as one. What its answer says is taken when it has
ended, also where less is left: that debt holds on every route.
"""

from __future__ import annotations

from typing import Any, Final

from portico.contracts import LIMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies.limits import SHARED, Limit, settle_costs, step_of, stores_of
from portico.edge.policies.quota import Quota
from portico.edge.policies.rate import Rate
from portico.edge.policies.window import Window

NOTE: Final = "key_limits"  # of an exchange: the limits of its key
SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
OWNER: Final = "@keys"  # in the place of a route's name, which never begins so
KNOWN: Final = 1024  # different limits that are kept ready


class KeyLimits:
    """The policy of one route; a key's counts are the same on all of them."""

    def __init__(self, config: dict[str, Any], context: PolicyContext) -> None:
        self.context = context
        self.cost: dict[str, Any] | None = config.get("cost")
        self.workers = max(1, context.snapshot.server.workers)
        self.made: dict[tuple[str, str, int], Limit] = {}

    def check(self, exchange: Exchange) -> Response | None:
        specs = exchange.notes.get(NOTE)
        if specs is None:
            return None
        for spec in specs:
            answer = self._limit(spec).check(exchange)
            if answer is not None:
                return answer
        return None

    def peek(self, exchange: Exchange) -> Response | None:
        specs = exchange.notes.get(NOTE)
        if specs is None:
            return None
        for spec in specs:
            answer = self._limit(spec).peek(exchange)
            if answer is not None:
                return answer
        return None

    def _limit(self, spec: tuple[str, str, int]) -> Limit:
        limit = self.made.get(spec)
        if limit is None:
            if len(self.made) >= KNOWN:
                self.made.clear()
            limit = self.made[spec] = self._make(spec)
        return limit

    def _make(self, spec: tuple[str, str, int]) -> Limit:
        kind, name, burst = spec
        version = self.context.snapshot.version
        config = config_of(kind, name, burst, self.cost)
        for each in ("count", "tokens", "burst"):
            config[each] = max(1, config[each] // self.workers)
        limit: Limit
        store = stores_of(self.context).store((OWNER, kind, name, "key", str(burst)), version)
        if kind == "rate":
            limit = Rate(config, self.context, store)
        elif kind == "quota":
            limit = Quota(config, self.context, store)
            limit.label = f"{OWNER}\0{name}\0key"
        else:
            limit = Window(config, self.context, store)
        limit.alone = False
        return limit


def specs_of(record: dict[str, Any]) -> tuple[tuple[str, str, int], ...]:
    """The limits in a key's record, each (kind, "count/unit", burst); ValueError when one can't be read."""
    found: list[tuple[str, str, int]] = []
    if record["rate"]:
        found.append(("rate", str(record["rate"]), int(record["burst"])))
    if record["window"]:
        found.append(("window", str(record["window"]), 0))
    if record["per_minute"]:
        found.append(("window", f"{int(record['per_minute'])}/minute", 0))
    if record["quota"]:
        found.append(("quota", str(record["quota"]), 0))
    if record["per_day"]:
        found.append(("quota", f"{int(record['per_day'])}/day", 0))
    for _, name, _ in found:
        parsed(name)
    return tuple(dict.fromkeys(found))


def config_of(kind: str, name: str, burst: int, cost: dict[str, Any] | None = None) -> dict[str, Any]:
    """One limit of a key as the policy of a route has it; `cost` as `cost.Cost` takes it."""
    count, seconds = parsed(name)
    full = max(1, burst or count // 10)
    config = {"name": name, "by": "key", "seconds": seconds, "count": count, "tokens": count, "burst": full}
    return config if cost is None else {**config, "cost": cost}


def parsed(name: str) -> tuple[int, int]:
    """`600/minute` as count and seconds; ValueError when it is nothing like that."""
    count, slash, unit = name.partition("/")
    if not slash or unit not in SECONDS or not 0 < int(count) <= 10**9:
        raise ValueError("a limit is a count and a unit, such as 600/minute")
    return int(count), SECONDS[unit]


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {} or {"cost": see `cost.Cost`}; the limits come with the key."""
    shared = context.shared.get(SHARED)
    if shared is not None:
        return step_of(shared, "key_limits", config, context)
    policy = KeyLimits(config, context)
    return Step("key_limits", LIMIT, policy.check, policy.peek, None if policy.cost is None else settle_costs)
