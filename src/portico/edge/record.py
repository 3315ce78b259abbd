"""RECORD: counters, latency histograms and the access log of one edge worker."""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from portico.edge.accesslog import AccessLog
from portico.edge.exchange import Exchange, decimal
from portico.edge.usage import OWN, Cell, Usage

if TYPE_CHECKING:
    from portico.edge.plan import CompiledRoute

BOUNDS: Final = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
FIRST: Final = 0.001
METHODS: Final = frozenset([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
PLAIN: Final = bytes(set(range(0x21, 0x7F)) - set(b'"\\'))  # what the inside of a JSON string holds as it is
COUNTED: Final = (
    "connections_accepted", "upstream_truncated", "parse_errors", "tls_handshake_failed", "proxy_header_invalid",
)  # fmt: skip
REMOVED: Final = "(removed)"  # under this name goes on what was counted of routes and upstreams that are no more
PAGE: Final = 500  # routes that are reported at a time: 2 ms
CLASSES: Final = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"]


class Histogram:
    """Counts by bucket (one more than BOUNDS), their sum in seconds."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.count(bucket_of(seconds), seconds)

    def count(self, bucket: int, seconds: float) -> None:
        """Count one whose bucket is known."""
        self.buckets[bucket] += 1
        self.sum += seconds

    def add(self, other: Histogram) -> None:
        """Count all that the other has counted."""
        for index in range(len(self.buckets)):
            self.buckets[index] += other.buckets[index]
        self.sum += other.sum

    def report(self) -> list[Any]:
        """[buckets, sum, count]."""
        return [list(self.buckets), self.sum, sum(self.buckets)]


def bucket_of(seconds: float) -> int:
    """Where a latency belongs in a histogram."""
    return 0 if seconds <= FIRST else bisect_left(BOUNDS, seconds)


class RouteStats:
    """What is counted of one route; outlives reloads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log_name = json.dumps(name).encode()
        self.requests: dict[tuple[bytes, int], int] = {}
        self.refused: dict[str, int] = {}
        self.untold: dict[str, int] = {}  # by what should have told a cost, answers that did not
        self.guard: dict[tuple[str, str], int] = {}  # by message (request, response) and verdict
        self.latency = Histogram()
        self.cell: Cell | None = None  # of the usage that was counted last: often the next one's too

    def fold(self, into: RouteStats) -> None:
        """Add what is counted here to another's; what exchanges in flight still count here, is counted there."""
        for key, number in self.requests.items():
            into.requests[key] = into.requests.get(key, 0) + number
        refused = sum(self.refused.values())
        if refused:
            into.refused["-"] = into.refused.get("-", 0) + refused
        for source, number in self.untold.items():
            into.untold[source] = into.untold.get(source, 0) + number
        self.untold = into.untold
        for found, number in self.guard.items():
            into.guard[found] = into.guard.get(found, 0) + number
        self.guard = into.guard
        into.latency.add(self.latency)
        self.requests = into.requests
        self.refused = into.refused
        self.latency = into.latency


class UpstreamStats:
    """What is counted of one upstream; outlives reloads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcomes: dict[str, int] = {}
        self.latency = Histogram()

    def count(self, outcome: str) -> None:
        """Count one outcome: a status class ("2xx") or an error code."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def fold(self, into: UpstreamStats) -> None:
        """Add what is counted here to another's; what exchanges in flight still count here, is counted there."""
        for outcome, number in self.outcomes.items():
            into.outcomes[outcome] = into.outcomes.get(outcome, 0) + number
        into.latency.add(self.latency)
        self.outcomes = into.outcomes
        self.latency = into.latency

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.count(CLASSES[status // 100])
        self.latency.observe(seconds)


class Recorder:
    """Writes down what became of every exchange."""

    def __init__(self, log: AccessLog) -> None:
        self.log = log
        self.usage = Usage()
        self.routes: dict[str, RouteStats] = {}
        self.upstreams: dict[str, UpstreamStats] = {}
        self.counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self.total = 0  # exchanges recorded
        self.epoch = 0  # changes when routes go
        self.second = 0
        self.stamp = b""
        self.millisecond = 0
        self.time = b""

    def route(self, name: str) -> RouteStats:
        """The counters of a route, made at first sight."""
        stats = self.routes.get(name)
        if stats is None:
            stats = self.routes[name] = RouteStats(name)
        return stats

    def upstream(self, name: str) -> UpstreamStats:
        """The counters of an upstream, made at first sight."""
        stats = self.upstreams.get(name)
        if stats is None:
            stats = self.upstreams[name] = UpstreamStats(name)
        return stats

    def keep(self, routes: set[str], upstreams: set[str]) -> None:
        """Let go of all but these. What is counted of the others goes on under one name: the sums never fall."""
        for route in [each for each in self.routes if each not in routes and each != REMOVED]:
            self.routes.pop(route).fold(self.route(REMOVED))
            self.epoch += 1
        for upstream in [each for each in self.upstreams if each not in upstreams and each != REMOVED]:
            self.upstreams.pop(upstream).fold(self.upstream(REMOVED))

    def count(self, name: str) -> None:
        """Count one event."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def record(self, exchange: Exchange, now: float) -> None:
        """Count a finished exchange and write its line."""
        route = exchange.route
        if route is None:
            return
        stats = route.stats
        self.total += 1
        usual = exchange.method in METHODS
        method = exchange.method if usual else b"OTHER"
        key = (method, exchange.status // 100)
        stats.requests[key] = stats.requests.get(key, 0) + 1
        seconds = now - exchange.now
        bucket = bucket_of(seconds)
        stats.latency.count(bucket, seconds)
        if self.usage.on:
            self.usage.count(exchange, stats, method, bucket, seconds, route.redact)
        if exchange.code:
            self._code(exchange, stats)
        self.log.write(self._line(exchange, route, usual, seconds))

    def _code(self, exchange: Exchange, stats: RouteStats) -> None:
        if self.usage.on:
            self.usage.refuse(exchange, stats.name)
        limit = exchange.notes.get("limit")
        if limit is not None:
            stats.refused[limit] = stats.refused.get(limit, 0) + 1
            if self.usage.on and exchange.principal is not None and OWN in exchange.notes:
                self.usage.limit(exchange.principal, limit)
        if exchange.code == "upstream_truncated":
            self.count("upstream_truncated")

    def _line(self, exchange: Exchange, route: CompiledRoute, usual: bool, seconds: float) -> bytes:
        principal = exchange.principal
        shown = exchange.peer_certificate
        return b"".join([
            b'{"time":"', self._time(exchange.wall),
            b'","request_id":"', exchange.request_id,
            b'","route":', route.log_name,
            b',"method":"', exchange.method if usual else escape(exchange.method),
            b'","path":"', clean(exchange.target, len(exchange.query), route.redact),
            b'","status":', decimal(exchange.status),
            b',"duration_us":', decimal(int(seconds * 1000000.0)),
            b',"bytes_in":', decimal(exchange.bytes_in),
            b',"bytes_out":', decimal(exchange.bytes_out),
            b',"client":"', exchange.client,
            b'","principal":', b'"-"' if principal is None else principal.label,
            b',"upstream":"', exchange.upstream,
            b'","code":"', exchange.code.encode() if exchange.code else b"",
            b'"}\n' if shown is None and exchange.trace is None and exchange.guarded is None else ending(exchange),
        ])  # fmt: skip

    def _time(self, wall: float) -> bytes:
        """RFC 3339 in UTC, to the millisecond; made anew only when it has changed."""
        millisecond = int(wall * 1000.0)
        if millisecond != self.millisecond:
            self.millisecond = millisecond
            second = millisecond // 1000
            if second != self.second:
                self.second = second
                self.stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
            self.time = self.stamp + b"." + str(1000 + millisecond - second * 1000).encode()[1:] + b"Z"
        return self.time

    def report(self) -> dict[str, Any]:
        """All counters, as `portico.telemetry.metrics` takes them."""
        return self._counters(list(self.routes.values()))

    def page(self, first: int) -> dict[str, Any]:
        """The counters of PAGE routes from `first` on, and with those of number 0 all that belongs to no route.

        `next` is where the next page begins, 0 after the last one. Pages of one `epoch` make a whole report.
        """
        routes = list(self.routes.values())
        end = first + PAGE
        page = self._counters(routes[first:end], rest=first == 0)
        page["epoch"] = self.epoch
        page["next"] = end if end < len(routes) else 0
        return page

    def _counters(self, routes: list[RouteStats], rest: bool = True) -> dict[str, Any]:
        asked = [each for each in routes if each.requests]
        upstreams = list(self.upstreams.values()) if rest else []
        return {
            "bounds": BOUNDS,
            "requests": [
                [r.name, method.decode(), f"{status}xx", n] for r in asked for (method, status), n in r.requests.items()
            ],
            "latency": [[r.name, *r.latency.report()] for r in asked],
            "refused": [[r.name, limit, n] for r in asked for limit, n in r.refused.items()],
            "untold": [[r.name, source, n] for r in asked for source, n in r.untold.items()],
            "guard": [[r.name, *found, n] for r in asked for found, n in r.guard.items()],
            "upstream": [[u.name, outcome, n] for u in upstreams for outcome, n in u.outcomes.items()],
            "upstream_latency": [[u.name, *u.latency.report()] for u in upstreams],
            "counts": dict(self.counts, access_log_dropped=self.log.dropped) if rest else {},
        }


def ending(exchange: Exchange) -> bytes:
    """The end of a line, with what is only in some."""
    line = b'"'
    if exchange.trace is not None and exchange.trace.sampled:
        line += b',"trace_id":"' + exchange.trace.trace_id + b'"'
    if exchange.peer_certificate is not None:
        line += b',"tls":' + exchange.peer_certificate.log_entry
    guarded = exchange.guarded
    if guarded is not None and (guarded.request or guarded.response):
        line += b',"guard":' + guarded.log_entry()
    return line + b"}\n"


def escape(text: bytes) -> bytes:
    """`text` for the inside of a JSON string."""
    if not text.translate(None, PLAIN):
        return text
    return json.dumps(text.decode("latin-1"))[1:-1].encode()


def clean(target: bytes, query: int, redact: list[int]) -> bytes:
    """A target for the log: no query, no secret path parameter, nothing that looks like a key.

    `query` is the length of the query, with its "?". The reader lets no byte into a path that JSON has to escape.
    """
    path = target[: len(target) - query] if query else target
    if redact or path.find(b"pk_") >= 0:
        path = without_secrets(path, redact)
    return path + b"?[redacted]" if query else path


def without_secrets(path: bytes, redact: list[int]) -> bytes:
    """A path with the segments numbered in `redact`, and those that look like a key, made unreadable."""
    segments = path.split(b"/")
    for index in range(len(segments)):
        if index - 1 in redact or segments[index].find(b"pk_") >= 0:
            segments[index] = b"[redacted]"
    return b"/".join(segments)
