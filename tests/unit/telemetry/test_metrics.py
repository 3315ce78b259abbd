"""The counters of all workers as one answer."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from portico.edge.record import BOUNDS, Histogram
from portico.telemetry.metrics import Totals


def report(n: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "requests": [["users", "GET", "2xx", 10 * n], ["users", "GET", "4xx", n]],
        "latency": [["users", [n, 2 * n, 0], 0.5 * n, 3 * n]],
        "bounds": [0.1, 1],
        "upstream": [["users", "2xx", 9 * n], ["users", "reset", n]],
        "upstream_latency": [["users", [0, 0, n], 4.0 * n, n]],
        "refused": [["users", "600/minute", n]],
        "gauges": {"connections": 4 * n, "in_flight": n},
        "counts": {"connections_accepted": 5 * n, "upstream_truncated": n, "access_log_dropped": 0, "odd_things": n},
        **more,
    }


def samples(totals: Totals) -> dict[tuple[str, ...], float]:
    text = totals.render(version="1.2.3", python="3.11.2", compiled=True, reloads_ok=2, reloads_failed=1)
    return {
        (sample.name, *sorted(f"{k}={v}" for k, v in sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_reports_are_added_up() -> None:
    totals = Totals()
    totals.update(1, report(1))
    totals.update(2, report(2))
    found = samples(totals)
    assert found["portico_requests_total", "method=GET", "route=users", "status=2xx"] == 30
    assert found["portico_requests_total", "method=GET", "route=users", "status=4xx"] == 3
    assert found["portico_request_seconds_bucket", "le=0.1", "route=users"] == 3
    assert found["portico_request_seconds_bucket", "le=1.0", "route=users"] == 9  # cumulative
    assert found["portico_request_seconds_bucket", "le=+Inf", "route=users"] == 9
    assert found["portico_request_seconds_count", "route=users"] == 9
    assert found["portico_request_seconds_sum", "route=users"] == 1.5
    assert found["portico_upstream_requests_total", "outcome=2xx", "upstream=users"] == 27
    assert found["portico_upstream_requests_total", "outcome=reset", "upstream=users"] == 3
    assert found["portico_upstream_seconds_bucket", "le=1.0", "upstream=users"] == 0
    assert found["portico_upstream_seconds_count", "upstream=users"] == 3
    assert found["portico_limit_refused_total", "limit=600/minute", "route=users"] == 3
    assert found["portico_connections",] == 12
    assert found["portico_in_flight",] == 3
    assert found["portico_connections_accepted_total",] == 15
    assert found["portico_upstream_truncated_total",] == 3
    assert found["portico_access_log_dropped_total",] == 0
    assert found["portico_odd_things_total",] == 3
    assert found["portico_config_reloads_total", "result=ok"] == 2
    assert found["portico_config_reloads_total", "result=failed"] == 1
    assert found["portico_build_info", "compiled=1", "python=3.11.2", "version=1.2.3"] == 1


def test_the_newest_report_replaces_the_one_before() -> None:
    totals = Totals()
    totals.update(1, report(1))
    totals.update(1, report(3))
    assert samples(totals)["portico_connections_accepted_total",] == 15


def test_a_retired_worker_stays_counted_but_holds_no_connections() -> None:
    totals = Totals()
    totals.update(1, report(1))
    totals.update(2, report(2))
    before = samples(totals)
    totals.retire(1)
    totals.retire(1)
    totals.retire(77)
    after = samples(totals)
    for name, value in before.items():
        assert after[name] == (
            8 if name == ("portico_connections",) else 2 if name == ("portico_in_flight",) else value
        )
    totals.update(1, report(1))  # the same pid once more: another worker
    assert samples(totals)["portico_connections_accepted_total",] == 20


def test_nothing_reported_yet_renders() -> None:
    found = samples(Totals())
    assert found["portico_connections",] == 0
    assert found["portico_connections_accepted_total",] == 0


def test_labels_are_escaped() -> None:
    totals = Totals()
    name = 'a"b\\c\nd'
    totals.update(1, report(requests=[[name, "GET", "2xx", 1]]))
    assert samples(totals)["portico_requests_total", "method=GET", f"route={name}", "status=2xx"] == 1


def test_the_text_is_of_format_0_0_4() -> None:
    totals = Totals()
    totals.update(1, report())
    text = totals.render(version="1", python="3", compiled=False, reloads_ok=0, reloads_failed=0)
    assert "# TYPE portico_requests_total counter\n" in text
    assert "# TYPE portico_request_seconds histogram\n" in text
    assert "# EOF" not in text
    assert "_created" not in text
    assert 'compiled="0"' in text


def test_takes_what_the_edge_s_histogram_reports() -> None:
    histogram = Histogram()
    for seconds in (0.0005, 0.001, 0.0011, 99.0):
        histogram.observe(seconds)
    totals = Totals()
    totals.update(1, {"bounds": BOUNDS, "latency": [["r", *histogram.report()]]})
    found = samples(totals)
    assert found["portico_request_seconds_bucket", "le=0.001", "route=r"] == 2  # a bound belongs to its bucket
    assert found["portico_request_seconds_bucket", "le=0.0025", "route=r"] == 3
    assert found["portico_request_seconds_bucket", "le=10.0", "route=r"] == 3
    assert found["portico_request_seconds_bucket", "le=+Inf", "route=r"] == 4


STEPS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["grow", "retire"])), max_size=40)


@given(STEPS)
def test_counters_never_fall_whatever_workers_come_and_go(steps: list[tuple[int, str]]) -> None:
    totals = Totals()
    sizes: dict[int, int] = {}
    everything, last = 0, 0.0
    for pid, step in steps:
        if step == "grow":
            sizes[pid] = sizes.get(pid, 0) + 1
            everything += 1
            totals.update(pid, report(sizes[pid]))
        else:
            sizes.pop(pid, None)
            totals.retire(pid)
        found = samples(totals)
        count = found.get(("portico_requests_total", "method=GET", "route=users", "status=4xx"), 0.0)
        assert count == everything >= last
        assert found["portico_connections",] == 4 * sum(sizes.values())
        last = count
