"""What the benchmark reads from wrk and perf, and how it goes through its rounds."""

import pytest

import load
from load import Run, Traffic, instructions, measure, milliseconds, parse
from servers import Server

OUTPUT = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Latency Distribution
     50%    1.20ms
     75%    2.00ms
     90%    3.00ms
     99%  850.00us
  80000 requests in 2.00s, 42.00MB read
Requests/sec:  40000.00
"""


def test_a_run() -> None:
    found = parse(OUTPUT, "nginx", used=1.6)
    assert found["requests_per_second"] == 40_000
    assert found["cpu_us_per_request"] == pytest.approx(20.0)
    assert found["core"] == pytest.approx(0.8)
    assert (found["p50_ms"], found["p99_ms"]) == (1.2, 0.85)


@pytest.mark.parametrize(
    "wrong", ["  Non-2xx or 3xx responses: 7", "  Socket errors: connect 0, read 0, write 0, timeout 3"]
)
def test_a_run_with_failures_does_not_count(wrong: str) -> None:
    with pytest.raises(RuntimeError, match=wrong.strip()[:12]):
        parse(OUTPUT + wrong + "\n", "nginx", used=1.0)


def test_a_run_without_answers_does_not_count() -> None:
    with pytest.raises(RuntimeError, match="no request"):
        parse(OUTPUT.replace("80000 requests", "0 requests"), "nginx", used=1.0)


def test_times() -> None:
    assert [milliseconds(text) for text in ("850.00us", "1.20ms", "2.00s", "1.50m")] == [0.85, 1.2, 2000.0, 90_000.0]


def test_instructions_where_perf_can_count_them() -> None:
    assert instructions("123456789,,instructions:u,1000000,100.00,,\n") == 123456789
    assert instructions("<not supported>,,instructions:u,0,100.00,,\n") is None


def test_rounds_are_interleaved_and_begin_with_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def record(server: Server, traffic: Traffic, seconds: float) -> Run:
        asked.append((traffic.name, server.name))
        return {"requests_per_second": float(len(asked)), "cpu_us_per_request": 1.0, "core": 1.0}

    monkeypatch.setattr(load, "load", record)
    some = [Server(name, [], load.HERE, 1) for name in "ab"]
    runs = measure([(Traffic("t"), some), (Traffic("u"), some)], rounds=2, seconds=1)
    warm, first, second = asked[:4], asked[4:8], asked[8:]
    assert sorted(warm) == sorted(first) == sorted(second)
    assert first == [("t", "a"), ("t", "b"), ("u", "a"), ("u", "b")]
    assert second == [("t", "b"), ("t", "a"), ("u", "b"), ("u", "a")]
    assert [run["requests_per_second"] for run in runs["t"]["a"]] == [5.0, 10.0]
