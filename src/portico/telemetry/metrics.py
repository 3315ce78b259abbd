"""Counters of all edge workers as one Prometheus answer.

Each edge worker reports plain JSON (all counts since it began):

    requests          [[route, method, status class, count], …]
    latency           [[route, [count of each bucket, the last one without bound], sum in seconds, count], …]
    bounds            the upper bounds of the buckets, in seconds
    upstream          [[upstream, outcome, count], …]
    upstream_latency  as latency, by upstream
    refused           [[route, limit, count], …]
    gauges            {"connections": n, "in_flight": n}
    counts            {"connections_accepted": n, "upstream_truncated": n, "access_log_dropped": n, …}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

Report = Mapping[str, Any]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
COUNTS: Final = {
    "connections_accepted": "Client connections accepted.",
    "upstream_truncated": "Responses that an upstream broke off after their head.",
    "access_log_dropped": "Access log lines dropped because the log could not be written fast enough.",
    "parse_errors": "Requests refused because their head or body framing broke HTTP's grammar.",
    "tls_handshake_failed": "Client connections closed because their TLS handshake failed or took too long.",
    "proxy_header_invalid": "Client connections closed because they began without a valid PROXY header.",
    "credentials_refused": "Credentials that were shown and not accepted.",
    "key_lookups": "API keys asked of the services because the edge did not know them, or not well enough.",
    "token_cache_hits": "Tokens that were verified before.",
    "token_cache_misses": "Tokens that had to be verified.",
}
GAUGES: Final = {"connections": "Client connections open now.", "in_flight": "Requests in flight now."}


class _Histogram:
    """Counts of several histograms with the same bounds, added up."""

    def __init__(self, size: int) -> None:
        self.buckets = [0] * size
        self.sum = 0.0

    def add(self, buckets: list[int], seconds: float) -> None:
        for index, count in enumerate(buckets[: len(self.buckets)]):
            self.buckets[index] += count
        self.sum += seconds


class _Sums:
    """The sum of reports."""

    def __init__(self) -> None:
        self.bounds: list[float] = []
        self.counters: dict[str, dict[tuple[str, ...], int]] = {"requests": {}, "upstream": {}, "refused": {}}
        self.histograms: dict[str, dict[str, _Histogram]] = {"latency": {}, "upstream_latency": {}}
        self.counts: dict[str, int] = dict.fromkeys(COUNTS, 0)
        self.gauges: dict[str, int] = dict.fromkeys(GAUGES, 0)

    def add(self, report: Report, *, alive: bool) -> None:
        """Add a worker's report; the gauges of one that is gone are not counted."""
        self.bounds = self.bounds or list(report.get("bounds", ()))
        for name, sums in self.counters.items():
            for *labels, count in report.get(name, ()):
                key = tuple(labels)
                sums[key] = sums.get(key, 0) + count
        for name, histograms in self.histograms.items():
            for label, buckets, seconds, _count in report.get(name, ()):
                histogram = histograms.setdefault(label, _Histogram(len(self.bounds) + 1))
                histogram.add(buckets, seconds)
        for name, count in report.get("counts", {}).items():
            self.counts[name] = self.counts.get(name, 0) + count
        if alive:
            for name, value in report.get("gauges", {}).items():
                self.gauges[name] = self.gauges.get(name, 0) + value

    def report(self) -> Report:
        """The sum in the form of a report, without gauges."""
        return {
            "bounds": self.bounds,
            **{name: [[*key, count] for key, count in sums.items()] for name, sums in self.counters.items()},
            **{
                name: [[label, h.buckets, h.sum, sum(h.buckets)] for label, h in histograms.items()]
                for name, histograms in self.histograms.items()
            },
            "counts": self.counts,
        }


class Totals:
    """The last report of every worker, and the sum of those that are gone: what is counted never falls.

    Workers are keyed by pid; a pid that comes again after `retire` is another worker.
    """

    def __init__(self) -> None:
        self._reports: dict[int, Report] = {}
        self._retired: Report = {}

    def update(self, pid: int, report: Report) -> None:
        """Keep a worker's newest report."""
        self._reports[pid] = report

    def retire(self, pid: int) -> None:
        """The worker is gone: what it had reported last stays counted."""
        report = self._reports.pop(pid, None)
        if report is not None:
            sums = _Sums()
            sums.add(self._retired, alive=False)
            sums.add(report, alive=False)
            self._retired = sums.report()

    def render(
        self,
        *,
        version: str,
        python: str,
        compiled: bool,
        reloads_ok: int,
        reloads_failed: int,
        lag: Mapping[str, float] | None = None,
    ) -> str:
        """Everything in Prometheus' text format 0.0.4 (CONTENT_TYPE); `lag` in seconds by process."""
        sums = _Sums()
        sums.add(self._retired, alive=False)
        for report in self._reports.values():
            sums.add(report, alive=True)
        families = [
            *_families(sums),
            _counter("portico_config_reloads", "Configuration reloads.", ["result"],
                     {("ok",): reloads_ok, ("failed",): reloads_failed}),
            _lag(lag or {}),
            _info(version, python, compiled),
        ]  # fmt: skip
        return generate_latest(_Fixed(families)).decode()


class _Fixed(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(sums: _Sums) -> Iterator[Metric]:
    counters, histograms = sums.counters, sums.histograms
    yield _counter("portico_requests", "Requests.", ["route", "method", "status"], counters["requests"])
    yield _histogram("portico_request_seconds", "Seconds from the head of a request to the end of its response.",
                     "route", sums.bounds, histograms["latency"])  # fmt: skip
    yield _counter("portico_upstream_requests", "Requests sent to upstreams.", ["upstream", "outcome"],
                   counters["upstream"])  # fmt: skip
    yield _histogram("portico_upstream_seconds", "Seconds until an upstream's response was complete.",
                     "upstream", sums.bounds, histograms["upstream_latency"])  # fmt: skip
    yield _counter("portico_limit_refused", "Requests that a limit refused.", ["route", "limit"], counters["refused"])
    for name, value in sums.gauges.items():
        yield GaugeMetricFamily(f"portico_{name}", GAUGES.get(name, name), value)
    for name, count in sums.counts.items():
        yield CounterMetricFamily(f"portico_{name}", COUNTS.get(name, name), count)


def _counter(name: str, text: str, labels: list[str], values: Mapping[tuple[str, ...], int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in sorted(values.items()):
        family.add_metric(key, count)
    return family


def _histogram(name: str, text: str, label: str, bounds: list[float], values: Mapping[str, _Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=[label])
    edges = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    for key, histogram in sorted(values.items()):
        total = 0
        buckets: list[tuple[str, float]] = []
        for edge, count in zip(edges, histogram.buckets, strict=True):
            total += count
            buckets.append((edge, total))
        family.add_metric([key], buckets, histogram.sum)
    return family


def _lag(lag: Mapping[str, float]) -> Metric:
    text = "How late each process's event loop runs what is due: 99th percentile of the last minute."
    family = GaugeMetricFamily("portico_loop_lag_seconds", text, labels=["process"])
    for process, seconds in sorted(lag.items()):
        family.add_metric([process], seconds)
    return family


def _info(version: str, python: str, compiled: bool) -> Metric:
    family = InfoMetricFamily("portico_build", "What is running.")
    family.add_metric([], {"version": version, "python": python, "compiled": "1" if compiled else "0"})
    return family
