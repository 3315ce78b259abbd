"""What the limits have in common: whom they count, what they tell the caller, and giving back.

Limits reserve: each takes its share as it is asked. If a later limit of the same route then refuses the request, all
shares that earlier ones took for it are given back at once, so that a refused request costs nothing. They follow one
another without a pause, so nobody else can have drawn on the same bucket in between.

The fields are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` says what the limit is (`q` requests in
`w` seconds), `RateLimit` how many are left (`r`) and after how many seconds there will be more (`t`).
"""

from __future__ import annotations

from hashlib import sha256
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, Final

from portico.contracts import LIMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step, decimal
from portico.edge.policies.cost import Cost
from portico.edge.policies.store import Bucket, Slots, Store, Stores
from portico.edge.usage import OWN

TICKS: Final = 1 << 30  # of a second; finer than the clock
SHARED: Final = "shared limits"  # in the context's `shared`: who counts for all workers, if they share a store
RESERVED: Final = "reserved"  # the note that holds what limits have taken for an exchange
LONGEST_KEY: Final = 128  # bytes of a header's value that tell callers apart; beyond, its SHA-256 does

MAPPED: Final = bytes(10) + b"\xff\xff"  # how an IPv6 address begins that stands for an IPv4 one (RFC 4291 2.5.5.2)

BY_ROUTE: Final = 0
BY_PRINCIPAL: Final = 1
BY_TENANT: Final = 2
BY_CLIENT: Final = 3
BY_HEADER: Final = 4
KINDS: Final = {
    "route": BY_ROUTE,
    "key": BY_PRINCIPAL,
    "principal": BY_PRINCIPAL,
    "tenant": BY_TENANT,
    "client": BY_CLIENT,
}


class Callers:
    """Tells callers apart: `by` is key, principal, tenant, client, route or header:NAME.

    A client is its IPv4 address, or the first 64 bits of its IPv6 address: all addresses beyond are one subscriber's.
    Those without what is asked for (no principal, no such header) share one bucket.
    """

    def __init__(self, by: str) -> None:
        header = by.startswith("header:")
        self.kind = BY_HEADER if header else KINDS[by]
        self.header = by[7:].strip().lower().encode() if header else b""

    def key(self, exchange: Exchange) -> object:
        """What the exchange is counted under."""
        kind = self.kind
        if kind == BY_CLIENT:
            client = exchange.client
            return client if client.find(b":") < 0 else network(client)
        if kind == BY_ROUTE:
            return ""
        if kind == BY_HEADER:
            value = exchange.field(self.header)
            if value is None:
                return ""
            return value if len(value) <= LONGEST_KEY else _digest(value)
        principal = exchange.principal
        if principal is None:
            return ""
        return principal.tenant if kind == BY_TENANT else principal.counted


class Limit:
    """A limit on one route: its name, what a request costs it, and what it writes into heads.

    `config`: {"name", "by"}, and "cost" where it counts something else than requests; see `cost.Cost`.
    """

    def __init__(self, config: dict[str, Any], policy: str, context: PolicyContext) -> None:
        cost = config.get("cost")
        self.cost = None if cost is None else Cost(cost)
        self.need = 1  # what has to be left for a request
        if self.cost is not None:
            self.need = self.cost.estimate
            policy += f';qu="{self.cost.unit}"'
        self.name = str(config["name"])
        quoted = _quoted(self.name)
        self.callers = Callers(config["by"])
        self.alone = _count(context) <= 1  # then nobody can refuse after this limit has taken its share
        self.head = f"\r\nRateLimit-Policy: {quoted};{policy}\r\nRateLimit: {quoted};r=".encode()

    def show(self, exchange: Exchange, remaining: int, seconds: int) -> None:
        """Tell an admitted caller how much is left."""
        exchange.response_fields += self.head + decimal(remaining) + b";t=" + decimal(seconds)

    def reserved(self, exchange: Exchange, bucket: Bucket, mark: int) -> None:
        """Note a share that may have to be given back, or is to be settled."""
        cost = self.cost
        if cost is not None:
            cost.watch(exchange)
        if cost is not None or not self.alone:
            notes = exchange.notes
            notes[RESERVED] = Reservation(self, bucket, mark, notes.get(RESERVED))

    def check(self, exchange: Exchange) -> Response | None:
        """Take a share of the caller's, or refuse."""
        raise NotImplementedError

    def peek(self, exchange: Exchange) -> Response | None:
        """What `check` would answer; nothing is taken."""
        raise NotImplementedError

    def give_back(self, bucket: Bucket, mark: int) -> None:
        """Undo one reservation."""
        raise NotImplementedError

    def settle(self, exchange: Exchange) -> None:
        """Settle all that this exchange has reserved with limits of costs: the first of them that is told does it."""
        settle_costs(exchange)

    def correct(self, exchange: Exchange, bucket: Bucket, mark: int, more: int) -> None:
        """The exchange has ended and has cost so many `more` than was reserved, or fewer when negative."""
        raise NotImplementedError

    def refuse(self, exchange: Exchange, answer: Response) -> Response:
        """Give back what earlier limits have taken, and note who refused."""
        reservation = exchange.notes.pop(RESERVED, None)
        while reservation is not None:
            assert isinstance(reservation, Reservation)
            reservation.limit.give_back(reservation.bucket, reservation.mark)
            reservation = reservation.before
        exchange.notes["limit"] = self.name
        if self.callers.kind == BY_PRINCIPAL:
            exchange.notes[OWN] = True
        return answer

    def answer(self, exchange: Exchange, code: str, detail: str, seconds: int) -> Response:
        """A 429 (RFC 6585 4) that says after how many seconds (at least 1) a request can be admitted again."""
        seconds = max(1, seconds)
        hint = f"try again in {seconds} s, or ask the operator for a larger limit"
        fields = self.head + b"0;t=%d\r\nRetry-After: %d" % (seconds, seconds)
        return exchange.problem(429, code, detail, hint, fields)


class Reservation:
    """A share that a limit has taken for an exchange, and the one taken before it."""

    def __init__(self, limit: Limit, bucket: Bucket, mark: int, before: Any) -> None:
        self.limit = limit
        self.bucket = bucket
        self.mark = mark
        self.before = before


def settle_costs(exchange: Exchange) -> None:
    """Replace each estimate that the exchange has reserved in this worker's memory by what it really cost."""
    reservation = exchange.notes.pop(RESERVED, None)
    while reservation is not None:
        assert isinstance(reservation, Reservation)
        limit = reservation.limit
        if limit.cost is not None:
            more = limit.cost.truth(exchange) - limit.need
            if more != 0:
                limit.correct(exchange, reservation.bucket, reservation.mark, more)
        reservation = reservation.before


def store_of(context: PolicyContext, kind: str, name: str, by: str, unit: str = "") -> Store:
    """The buckets of one limit. They outlive reloads, unless `unit`, what their numbers mean, changes."""
    return stores_of(context).store((context.route.name, kind, name, by, unit), context.snapshot.version)


def slots_of(context: PolicyContext, name: str, by: str) -> Slots:
    """The slots of one limit. They outlive reloads, for so do the exchanges that hold them."""
    return stores_of(context).slots_of((context.route.name, "concurrent", name, by), context.snapshot.version)


def stores_of(context: PolicyContext) -> Stores:
    """All that the limits of this process remember."""
    stores = context.shared.get("limits")
    if not isinstance(stores, Stores):
        stores = context.shared["limits"] = Stores()
    return stores


def step_of(shared: Any, name: str, config: dict[str, Any], context: PolicyContext) -> Step:
    """The step of a limit that workers share."""
    step = shared.step(name, config, context)
    assert isinstance(step, Step)
    return step


def _count(context: PolicyContext) -> int:
    return len([policy for policy in context.route.policies if policy.phase == LIMIT])


def _quoted(name: str) -> str:
    """A string of structured fields (RFC 9651 3.3.3)."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in name)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def network(address: bytes) -> bytes:
    """The /64 of an IPv6 address, the address that a mapped one stands for, or what came when it is neither."""
    try:
        packed = inet_pton(AF_INET6, address.decode("latin-1"))
    except OSError:
        return address
    return inet_ntop(AF_INET, packed[12:]).encode() if packed.startswith(MAPPED) else packed[:8]


def _digest(value: bytes) -> bytes:
    return sha256(value).digest()
