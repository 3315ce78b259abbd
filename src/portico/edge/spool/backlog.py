"""What was counted and is not in the spool yet, merged so that it stays small however long the disk takes nothing.

Everything here runs in the writing thread, in short slices: between two of them the event loop has its turn.
"""

from __future__ import annotations

import ipaddress
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from portico.edge.record import clean
from portico.edge.usage import OTHERS, Cell, Taken
from portico.identity.principal import Principal

SLICE: Final = 50  # rows at a time
PAUSE: Final = 0.0002  # seconds for the event loop between two slices
ROWS: Final = 100  # rows a record
CELLS: Final = 50_000  # rows of usage, above which less is told apart
RECENT: Final = 1000  # requests in detail; the newest stay
REFUSALS: Final = 1000
LIMITED: Final = 1000
HOUR: Final = 3600
MERGED: Final = "(merged)"
ANONYMOUS: Final = ("", "", "anonymous", "")
MAPPED: Final = ipaddress.ip_network("::ffff:0:0/96")

Key = tuple[Any, ...]
Rows = list[list[Any]]


class Backlog:
    """Usage by what is told apart, and what guards have judged; requests in detail; refused credentials; callers whose
    own limits have refused them.

    `dropped` and `merged` count rows.
    """

    def __init__(self) -> None:
        self.usage: dict[Key, list[Any]] = {}
        self.judged: dict[Key, list[int]] = {}
        self.recent: deque[list[Any]] = deque(maxlen=RECENT)
        self.refused: dict[Key, list[Any]] = {}
        self.limited: dict[Key, int] = {}
        self.dropped = 0
        self.merged = 0

    @property
    def requests(self) -> int:
        """How many requests are counted in it."""
        return sum(values[0] for values in self.usage.values())

    def add(self, taken: Taken) -> None:
        """Take in what was counted."""
        rows = 0
        for minute, cells in taken.minutes:
            for (principal, route, method, status), cell in cells.items():
                who = caller(principal)
                _plus(self.usage, (minute, *who, route, method.decode("latin-1"), status), _values(cell))
                for (engine, malicious), sums in (cell.judged or {}).items():
                    _add(self.judged, (minute, *who, engine, int(malicious)), sums)
                rows += 1
                if rows % SLICE == 0:
                    time.sleep(PAUSE)
        for told in taken.recent:
            self.dropped += len(self.recent) == RECENT
            self.recent.append(_detail(told))
        for (code, client, route, who), (count, request_id, target, query, redact) in taken.refused.items():
            path = clean(target[: len(target) - query], 0, redact).decode("latin-1")
            known = () if who is None else (who.kind, who.id, who.tenant)
            self._refuse((code, network(client), route, *known), count, [request_id.decode("latin-1"), path])
        for (principal, limit), count in taken.limited.items():
            what = (*caller(principal), limit)
            if what in self.limited or len(self.limited) < LIMITED:
                self.limited[what] = self.limited.get(what, 0) + count
        if len(self.usage) > CELLS:
            self.usage = self._merge(self.usage, _plus, (_by_hour, _by_tenant))
        if len(self.judged) > CELLS:
            self.judged = self._merge(self.judged, _add, (_judged_by_hour, _judged_by_tenant))

    def records(self, detail: bool) -> Iterator[tuple[str, Rows]]:
        """Kind and rows of one record after another; what was yielded is gone when the next one is asked for.

        Without `detail` (there is hardly any room) only usage and refusals, and requests in detail are dropped.
        """
        if not detail:
            self.dropped += len(self.recent)
            self.recent.clear()
        for kind, sums in (("usage", self.usage), ("judged", self.judged)):
            while sums:
                keys = list(islice(sums, ROWS))
                yield kind, [[*key, *sums[key]] for key in keys]
                for key in keys:
                    del sums[key]
        if self.refused:
            yield "refused", [[*key[:3], *values, *key[3:]] for key, values in self.refused.items()]
            self.refused.clear()
        if self.limited:
            yield "limited", [[*key, count] for key, count in self.limited.items()]
            self.limited.clear()
        while self.recent:
            rows = list(islice(self.recent, ROWS))
            yield "recent", rows
            for _ in rows:
                self.recent.popleft()

    def _refuse(self, key: Key, count: int, sample: list[str]) -> None:
        if len(self.refused) >= REFUSALS and key not in self.refused:
            key = OTHERS[:3]
        known = self.refused.setdefault(key, [0, *sample])
        known[0] += count

    def _merge(
        self,
        rows: dict[Key, list[Any]],
        plus: Callable[[dict[Key, list[Any]], Key, list[Any]], None],
        steps: Iterable[Callable[[Key], Key]],
    ) -> dict[Key, list[Any]]:
        """Rows that tell less apart: first minutes and routes, then callers. The sums stay exact."""
        for less in steps:
            old, rows = rows, {}
            for key, values in old.items():
                plus(rows, less(key), values)
            self.merged += len(old) - len(rows)
            if len(rows) <= CELLS // 2:
                break
        return rows


def caller(principal: Principal | None) -> tuple[str, str, str, str]:
    """Key id, principal, kind and tenant, as a row has them."""
    if principal is None:
        return ANONYMOUS
    return principal.id if principal.kind == "key" else "", principal.id, principal.kind, principal.tenant


def network(client: str) -> str:
    """The client's address; of an IPv6 address its /64, which is one subscriber's."""
    if ":" not in client:
        return client
    try:
        address = ipaddress.IPv6Address(client)
    except ValueError:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def _values(cell: Cell) -> list[Any]:
    return [sum(cell.buckets), cell.bytes_in, cell.bytes_out, cell.buckets, cell.seconds]


def _plus(into: dict[Key, list[Any]], key: Key, values: list[Any]) -> None:
    known = into.get(key)
    if known is None:
        into[key] = values
        return
    for index in (0, 1, 2, 4):
        known[index] += values[index]
    known[3] = [one + other for one, other in zip(known[3], values[3], strict=True)]


def _add(into: dict[Key, list[int]], key: Key, values: list[int]) -> None:
    known = into.get(key)
    into[key] = values if known is None else [one + other for one, other in zip(known, values, strict=True)]


def _by_hour(key: Key) -> Key:
    minute, name, principal, kind, tenant, _route, _method, status = key
    return (minute // HOUR * HOUR, name, principal, kind, tenant, MERGED, "", status)


def _by_tenant(key: Key) -> Key:
    minute, _name, _principal, kind, tenant, route, method, status = key
    return (minute, "", MERGED, kind, tenant, route, method, status)


def _judged_by_hour(key: Key) -> Key:
    return (key[0] // HOUR * HOUR, *key[1:])


def _judged_by_tenant(key: Key) -> Key:
    minute, _name, _principal, *rest = key
    return (minute, "", MERGED, *rest)


def _detail(told: tuple[Any, ...]) -> list[Any]:
    wall, request_id, principal, route, method, target, query, redact, status, code, seconds, taken, sent, client = told
    path = clean(target[: len(target) - query], 0, redact).decode("latin-1")
    return [
        round(wall, 3), request_id.decode("latin-1"), *caller(principal), route, method.decode("latin-1"), path, status,
        code, round(seconds * 1000, 3), taken, sent, client.decode("latin-1"),
    ]  # fmt: skip
