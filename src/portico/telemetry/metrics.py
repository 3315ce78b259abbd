"""Counters of all edge workers as one Prometheus answer.

Each edge worker reports plain JSON (all counts since it began):

    requests          [[route, method, status class, count], …]
    latency           [[route, [count of each bucket, the last one without bound], sum in seconds, count], …]
    bounds            the upper bounds of the buckets, in seconds
    upstream          [[upstream, outcome, count], …]
    upstream_latency  as latency, by upstream
    refused           [[route, limit, count], …]
    guard             [[route, message, verdict, count], …]
    gauges            {"connections": n, "in_flight": n}
    counts            {"connections_accepted": n, "upstream_truncated": n, "access_log_dropped": n, …}

Each services process reports what `portico.telemetry.counts` counted:

    services          [[name, label, …, count], …]
    workers           the same of workers of their own, alike from every process; the largest value is shown
    services_seconds  as latency, by name:label
    services_gauges   [[name, label, …, value], …]; the largest of all processes' values is shown
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

from portico.telemetry import counts as served
from portico.telemetry.spool import Measures

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
    "spans_exported": "Spans that the collector has taken.",
    "spans_dropped": "Spans dropped because the collector, or the services, did not take them in time.",
    "usage_lost": "Requests whose usage could not be kept.",
    "usage_merged": "Rows of usage that were merged with others because the spool could not be written.",
    "requests_recent_dropped": "Requests in detail dropped because the spool could not be written, or was too full.",
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
        self.counters: dict[str, dict[tuple[str, ...], int]] = {
            "requests": {}, "upstream": {}, "refused": {}, "untold": {}, "guard": {}, "services": {},
        }  # fmt: skip
        self.histograms: dict[str, dict[str, _Histogram]] = {
            "latency": {}, "upstream_latency": {}, "services_seconds": {},
        }  # fmt: skip
        self.counts: dict[str, int] = dict.fromkeys(COUNTS, 0)
        self.gauges: dict[str, int] = dict.fromkeys(GAUGES, 0)
        self.largest: dict[tuple[str, ...], float] = {}
        self.workers: dict[tuple[str, ...], int] = {}

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
        for *labels, count in report.get("workers", ()):  # sums that never fall, also when their reader is gone
            key = tuple(labels)
            self.workers[key] = max(count, self.workers.get(key, count))
        for name, count in report.get("counts", {}).items():
            self.counts[name] = self.counts.get(name, 0) + count
        if alive:
            for name, value in report.get("gauges", {}).items():
                self.gauges[name] = self.gauges.get(name, 0) + value
            for *labels, value in report.get("services_gauges", ()):
                key = tuple(labels)
                self.largest[key] = max(value, self.largest.get(key, value))

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
            "workers": [[*key, count] for key, count in self.workers.items()],
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
        spool: Measures | None = None,
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
            *_spool(spool),
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
    yield _counter("portico_limit_cost_untold", "Answers that did not tell what they had cost: the estimate stands.",
                   ["route", "cost"], counters["untold"])  # fmt: skip
    yield _counter("portico_guard", "Messages that a guard has judged, or could not.", ["route", "message", "verdict"],
                   counters["guard"])  # fmt: skip
    yield from _served(sums)
    for name, value in sums.gauges.items():
        yield GaugeMetricFamily(f"portico_{name}", GAUGES.get(name, name), value)
    for name, count in sums.counts.items():
        yield CounterMetricFamily(f"portico_{name}", COUNTS.get(name, name), count)


def _served(sums: _Sums) -> Iterator[Metric]:
    for name, (text, labels) in served.GAUGES.items():
        family = GaugeMetricFamily(f"portico_{name}", text, labels=list(labels))
        for key, value in sorted(sums.largest.items()):
            if key[0] == name:
                family.add_metric(key[1:], value)
        yield family
    for name, (text, labels) in served.COUNTERS.items():
        found = {key[1:]: count for key, count in sums.counters["services"].items() if key[0] == name}
        yield _counter(f"portico_{name}", text, list(labels), found)
        apart = {key[1:]: count for key, count in sums.workers.items() if key[0] == name}
        yield _counter(f"portico_worker_{name}", f"Of workers of their own: {text}", list(labels), apart)
    for name, (text, label) in served.HISTOGRAMS.items():
        of_it = {
            key.partition(":")[2]: histogram
            for key, histogram in sums.histograms["services_seconds"].items()
            if key.partition(":")[0] == name
        }
        yield _histogram(f"portico_{name}", text, label, sums.bounds, of_it)


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


def _spool(measures: Measures | None) -> Iterator[Metric]:
    if measures is None:
        return
    yield GaugeMetricFamily("portico_spool_bytes", "Bytes of the spool's segments.", measures.bytes)
    text = "Seconds since all that was in the spool had been taken in."
    yield GaugeMetricFamily("portico_spool_age_seconds", text, measures.age)
    text = "Records of the spool that were not taken in because they had been altered or can't be kept."
    yield CounterMetricFamily("portico_spool_records_refused", text, measures.refused)
    text = "Records of the spool that were not there, though later ones were."
    yield CounterMetricFamily("portico_spool_records_missing", text, measures.missing)


def _info(version: str, python: str, compiled: bool) -> Metric:
    family = InfoMetricFamily("portico_build", "What is running.")
    family.add_metric([], {"version": version, "python": python, "compiled": "1" if compiled else "0"})
    return family
