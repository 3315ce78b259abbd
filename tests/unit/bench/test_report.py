"""The arithmetic of the benchmark's page."""

from typing import Any

from bounds import verdicts
from load import Run, Runs
from report import page


def run(rate: float, core: float = 1.0) -> Run:
    cost = 1e6 / rate
    return {
        "requests_per_second": rate,
        "cpu_us_per_request": cost,
        "core": core,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "requests": 10.0,
    }


RUNS = {
    "same fields": {
        "nginx": [run(100.0), run(50.0), run(200.0)],
        "envoy": [run(35.0), run(20.0), run(90.0)],
        "portico compiled": [run(96.0), run(50.0), run(100.0)],
        "portico interpreted": [run(40.0), run(20.0), run(80.0)],
    }
}


def result(kind: str, runs: Runs, **more: Any) -> dict[str, Any]:
    about = {
        "processor": "P",
        "cores": "2",
        "kernel": "Linux",
        "python": "3.11",
        "versions": {"nginx": "1.22"},
        "load": "0",
    }
    first = {"name": "x", "kind": kind, "title": "Title", "date": "2026-01-01", "machine": about}
    return {**first, "rounds": 3, "seconds": 1.0, "runs": runs, **more}


def judged(kind: str, runs: Runs) -> dict[str, tuple[str, str]]:
    return {each.what: (each.measured, each.verdict) for each in verdicts([result(kind, runs)])}


def test_the_ratio_is_the_median_of_each_rounds_ratio() -> None:
    text = page([result("load", RUNS)])
    assert (
        "| same fields | portico compiled | 96 (50–100) | 0.96 (0.50–1.00) | 2.50 (1.11–2.74) | 10416.7 | 1.04 |"
        in text
    )


def test_each_bound_of_the_load_is_judged() -> None:
    found = judged("load", RUNS)
    assert found["portico compiled ÷ nginx, requests/s, same fields"] == ("0.96", "met")
    assert found["portico compiled ÷ envoy, requests/s, same fields"] == ("2.50", "met")
    assert found["portico interpreted ÷ nginx, requests/s, same fields"] == ("0.40", "missed")


def test_a_gateway_without_its_core_is_not_judged() -> None:
    found = judged("load", {"same fields": {"nginx": [run(100.0, core=0.6)], "portico compiled": [run(99.0)]}})
    assert list(found.values()) == [("0.99", "not judged (disturbed)")]


def test_routing_is_judged_by_cpu_time() -> None:
    runs = {
        "1 route": {"portico compiled": [run(100.0)]},
        "10,000 routes, all asked": {"portico compiled": [run(80.0)]},
        "10,000 routes, one asked": {"portico compiled": [run(95.0)]},
    }
    assert [verdict for _, verdict in judged("load", runs).values()] == ["missed", "met"]


def slow(p99: float, foreign: float = 0.0) -> Run:
    return {"p50_ms": 0.5, "p99_ms": p99, "p999_ms": 9.0, "late_p99_ms": 0.1, "foreign": foreign}


def test_added_latency_is_the_median_of_the_differences_of_each_round() -> None:
    runs = {
        "1,000/s": {"direct": [slow(1.0), slow(5.0), slow(1.0)], "portico compiled": [slow(1.8), slow(5.1), slow(4.0)]},
        "1,000/s, while the services compute": {"direct": [slow(1.0)], "portico compiled": [slow(3.5)]},
    }
    assert list(judged("latency", runs).values()) == [("0.80 ms", "met"), ("2.50 ms", "missed")]
    assert "| 1,000/s | portico compiled | 0.50 | 4.00 | 9.00 | 0.00 | 0.80 (0.10–3.00) | 0.00 | 0.10 |" in page(
        [result("latency", runs)]
    )


def test_latency_beside_a_busy_neighbour_is_not_judged() -> None:
    runs = {"1,000/s": {"direct": [slow(1.0)], "portico compiled": [slow(1.5, foreign=0.5)]}}
    assert list(judged("latency", runs).values()) == [("0.50 ms", "not judged (disturbed)")]


def held(stall: float, foreign: float) -> Run:
    return {
        "kb_each": 9.0,
        "edge_kb": 20480.0,
        "stall_ms": stall,
        "p99_ms": 1.0,
        "messages_per_second": 0.0,
        "foreign": foreign,
    }


def test_memory_is_always_judged_and_a_stall_only_when_it_was_ours() -> None:
    for stall, foreign, verdict in ((20.0, 1.0, "met"), (60.0, 1.0, "not judged (disturbed)"), (60.0, 0.0, "missed")):
        found = judged("memory", {"idle": {"portico compiled": [held(stall, foreign)]}})
        assert found["memory of each connection, idle"] == ("9.0 KB", "missed")
        assert found["longest parallel request, idle"] == (f"{stall} ms", verdict)


def test_start_up_is_judged_by_time_and_memory() -> None:
    start = {"edge_seconds": 0.5, "all_seconds": 3.0, "foreign": 0.0}
    sizes = {"edge_mb": 24.0, "services_mb": 40.0, "supervisor_mb": 30.0, "all_mb": 94.0}
    runs: Runs = {"start": {"portico compiled": [{**start, **sizes}]}}
    assert [verdict for _, verdict in judged("start", runs).values()] == ["met", "missed", "met", "met"]
    assert "| portico compiled | 0.50 (0.50–0.50) | 3.00 (3.00–3.00) | 24.0 | 40.0 | 30.0 | 94.0 |" in page(
        [result("start", runs)]
    )


def test_the_page_says_what_was_left_out_and_which_log_is_not_whole() -> None:
    text = page(
        [result("load", RUNS, skipped={"caddy": "apt-get install caddy"}, log_lines={"nginx": 29, "envoy": 30})]
    )
    assert "caddy was not there (apt-get install caddy)." in text
    assert "The access log of nginx has 29 lines for 30 requests." in text
    assert "of envoy has" not in text


def test_a_revocation_is_judged_by_its_longest() -> None:
    some = [{"p50_ms": 90.0, "max_ms": longest, "count": 50.0, "foreign": 0.0} for longest in (300.0, 1200.0)]
    runs = {"4 workers": {"portico compiled": some}}
    assert judged("revocation", runs) == {"longest revocation, 4 workers": ("1200 ms", "missed")}
    assert "| 4 workers | portico compiled | 100 | 90 | 1200 |" in page([result("revocation", runs)])


def test_a_key_of_many_is_set_beside_one_of_few() -> None:
    few, many = [{**run(100.0), "edge_mb": 40.0}], [{**run(95.0), "edge_mb": 60.0}]
    runs: Runs = {"one key of 1,000": {"portico compiled": few}, "one key of 1,000,000": {"portico compiled": many}}
    assert judged("load", runs) == {"CPU time a request, one key of 1,000,000 ÷ one key of 1,000": ("1.05", "met")}
    told = "PSS of the edge: 40.0 MB with one key of 1,000, 60.0 MB with one key of 1,000,000."
    assert told in page([result("load", runs)])


def test_detection_is_judged_by_rate_and_by_what_it_adds() -> None:
    def once(rate: float, foreign: float, **more: float) -> Run:
        return {"requests_per_second": rate, "cpu_ms": 0.6, "p50_ms": 1.5, "p99_ms": 9.0, "foreign": foreign, **more}

    runs: Runs = {
        "embedded, 500 characters": {"portico": [once(1500.0, 0.0)]},
        "engine of 5 ms": {"portico": [once(900.0, 0.0, added_ms=1.25)]},
    }
    found = judged("detect", runs)
    assert found["texts judged a second by one core, embedded, 500 characters"] == ("1,500.00", "met")
    assert found["p99 at 1,000/s, ms, embedded, 500 characters"] == ("9.00", "met")
    assert found["median less the engine's, ms, engine of 5 ms"] == ("1.25", "missed")
    runs["engine of 5 ms"]["portico"][0]["foreign"] = 1.0
    assert judged("detect", runs)["median less the engine's, ms, engine of 5 ms"][1] == "not judged (disturbed)"
    assert "| engine of 5 ms | 900 (900–900) | 0.60 | 1.50 | 9.00 | 1.25 |" in page([result("detect", runs)])
