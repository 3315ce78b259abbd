"""What is counted of each caller: requests, bytes and time, by minute, route, method and status; verdicts of guards.

It is counted in cells, which the worker takes away about once a second (`take`), for the spool. Nothing is made into
text here: that is the writing thread's work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from portico.edge.exchange import Exchange
from portico.identity.principal import Principal

if TYPE_CHECKING:
    from portico.edge.guard.guarded import Judged
    from portico.edge.record import RouteStats

CELLS: Final = 50_000  # after which they are handed over before the second is over
BUCKETS: Final = 14  # of latencies, one more than record.BOUNDS
RECENT: Final = 100  # requests a second that are told in detail
REFUSALS: Final = 100  # kinds of refused credentials told apart between two takings; the rest goes under OTHERS
OTHERS: Final = ("(others)", "", "", None)
LIMITED: Final = 1000  # callers and limits of theirs told apart between two takings; of the rest nobody is told
MINUTE: Final = 60
OWN: Final = "own_limit"  # the note that a limit has refused a caller for what that caller alone has used up
DENIED: Final = frozenset(["permission_missing", "address_not_allowed", "origin_refused"])


class Cell:
    """What one caller did in one minute, on one route, with one method and one status."""

    def __init__(self, era: int, principal: Principal | None, method: bytes, status: int) -> None:
        self.era = era  # of the cells that it belongs to; those of an older era have been taken away
        self.principal = principal
        self.method = method
        self.status = status
        self.bytes_in = 0
        self.bytes_out = 0
        self.seconds = 0.0
        self.buckets = [0] * BUCKETS  # their sum is the number of requests
        self.judged: dict[tuple[str, bool], list[int]] | None = None

    def judge(self, one: Judged | None) -> None:
        """Count a message by who judged it and whether it is malicious: [messages, confidence, degraded, cached]."""
        if one is None:
            return
        if self.judged is None:
            self.judged = {}
        sums = self.judged.setdefault((one.engine, one.malicious), [0, 0, 0, 0])
        sums[0] += 1
        sums[1] += one.confidence
        sums[2] += int(one.degraded)
        sums[3] += int(one.cached)


class Taken:
    """What was counted between two takings: cells by minute, requests in detail, what was refused for which reason."""

    def __init__(self, wall: float) -> None:
        self.wall = wall
        self.minutes: list[tuple[int, dict[Any, Cell]]] = []
        self.recent: list[tuple[Any, ...]] = []
        self.refused: dict[Any, list[Any]] = {}
        self.limited: dict[Any, int] = {}


class Usage:
    """The counts of one worker. `on` False: nothing is counted. `full` is called when there are CELLS."""

    def __init__(self) -> None:
        self.on = False
        self.full: Callable[[], None] | None = None
        self.era = 0
        self.minute = 0
        self.end = 0.0  # of the minute
        self.cells: dict[Any, Cell] = {}
        self.before: list[tuple[int, dict[Any, Cell]]] = []  # minutes that are over
        self.held = 0  # cells in them
        self.room = RECENT
        self.recent: list[tuple[Any, ...]] = []
        self.refused: dict[Any, list[Any]] = {}
        self.limited: dict[Any, int] = {}

    def count(
        self, exchange: Exchange, stats: RouteStats, method: bytes, bucket: int, seconds: float, redact: list[int]
    ) -> None:
        """Count a finished exchange; `seconds` is what it took, `bucket` where that is in the histogram."""
        wall = exchange.wall + seconds
        if wall >= self.end:
            self.turn(wall)
        cell = stats.cell
        if (
            cell is None
            or cell.era != self.era
            or cell.principal is not exchange.principal
            or cell.status != exchange.status
            or cell.method != method
        ):
            cell = stats.cell = self._cell(exchange.principal, stats.name, method, exchange.status)
        cell.bytes_in += exchange.bytes_in
        cell.bytes_out += exchange.bytes_out
        cell.seconds += seconds
        cell.buckets[bucket] += 1
        guarded = exchange.guarded
        if guarded is not None:
            cell.judge(guarded.of_request)
            cell.judge(guarded.of_response)
        if self.room > 0:
            self.room -= 1
            self._detail(exchange, stats.name, method, wall, seconds, redact)

    def refuse(self, exchange: Exchange, route: str) -> None:
        """Count an answer of the edge's own if it refuses the caller's credentials."""
        status, code = exchange.status, exchange.code
        if exchange.upstream:
            return
        if status != 401 and code != "too_many_failures" and not (status == 403 and code in DENIED):
            return
        refused = self.refused
        key: Any = (code, exchange.client.decode("latin-1"), route, exchange.principal)
        if len(refused) >= REFUSALS and key not in refused:
            key = OTHERS
        known = refused.get(key)
        if known is None:
            refused[key] = [1, exchange.request_id, exchange.target, len(exchange.query), self._hidden(exchange)]
        else:
            known[0] += 1

    def limit(self, principal: Principal, name: str) -> None:
        """Count a request that a limit has refused since its caller has used up what is the caller's own."""
        limited = self.limited
        key: Any = (principal, name)
        count = limited.get(key, 0)
        if count or len(limited) < LIMITED:
            limited[key] = count + 1

    def turn(self, wall: float) -> None:
        """Another minute has begun. While far too much waits to be taken, the old one goes on instead."""
        if self.held + len(self.cells) < CELLS or not self.minute:
            self._close()
            self.minute = int(wall) // MINUTE * MINUTE
        self.end = float(int(wall) // MINUTE * MINUTE + MINUTE)

    def take(self, wall: float) -> Taken:
        """All that was counted since the last time; what follows is counted anew."""
        taken = Taken(wall)
        self._close()
        taken.minutes = self.before
        taken.recent = self.recent
        taken.refused = self.refused
        taken.limited = self.limited
        self.before = []
        self.held = 0
        self.recent = []
        self.refused = {}
        self.limited = {}
        self.room = RECENT
        return taken

    def _close(self) -> None:
        if self.cells:
            self.before.append((self.minute, self.cells))
            self.held += len(self.cells)
            self.cells = {}
        self.era += 1

    def _cell(self, principal: Principal | None, route: str, method: bytes, status: int) -> Cell:
        key = (principal, route, method, status)
        cell = self.cells.get(key)
        if cell is None:
            if len(self.cells) >= CELLS and self.full is not None:
                self.full()
            cell = self.cells[key] = Cell(self.era, principal, method, status)
        return cell

    def _detail(
        self, exchange: Exchange, route: str, method: bytes, wall: float, seconds: float, redact: list[int]
    ) -> None:
        self.recent.append((
            wall, exchange.request_id, exchange.principal, route, method, exchange.target, len(exchange.query), redact,
            exchange.status, exchange.code, seconds, exchange.bytes_in, exchange.bytes_out, exchange.client,
        ))  # fmt: skip

    def _hidden(self, exchange: Exchange) -> list[int]:
        route = exchange.route
        return route.redact if route is not None else []
