"""What the gateway shows of itself: health, metrics, the access log, and what it says when a half is gone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Reader
from portico.testing.harness import free_port
from portico.testing.upstream import wait_for

READER = "pk_metrics_reader_0123456789"
STRANGER = "pk_stranger_0123456789"


@pytest.fixture(scope="module")
def watched(mode: bool, shared_upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    """A gateway with a key that may read metrics, one that may not, and a metrics listener."""

    def key(name: str, secret: str, permissions: list[str]) -> dict[str, object]:
        return {"id": name, "sha256": hashlib.sha256(secret.encode()).hexdigest(), "permissions": permissions}

    config = {
        "server": {"listen": [{"host": "127.0.0.1", "port": free_port(), "metrics": True}]},
        "upstreams": {"up": {"targets": [shared_upstream.url]}},
        "keys": [key("reader", READER, ["metrics:read", "health:read"]), key("stranger", STRANGER, [])],
        "routes": [
            {"name": "counted", "paths": ["/counted/*"], "upstream": "up"},
            {
                "name": "limited",
                "paths": ["/limited"],
                "upstream": "up",
                "limits": [{"window": "1/minute", "by": "client"}],
            },
            {"name": "all", "paths": ["/*"], "upstream": "up"},
        ],
    }
    with GatewayHarness(config, compiled=mode) as gateway:
        yield gateway


def samples(text: str) -> dict[str, float]:
    """The samples of a Prometheus text by name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def scrape(gateway: GatewayHarness) -> dict[str, float]:
    answer = gateway.request("GET", "/metrics", {"X-API-Key": READER})
    assert answer.status == 200
    return samples(answer.body.decode())


def test_health_tells_strangers_only_the_status(watched: GatewayHarness) -> None:
    for path in ("/health", "/api/health", "/api/v1/health", "/health/ready", "/health/live"):
        assert watched.request("GET", path).json() == {"status": "ok"}, path
    known = watched.request("GET", "/health", {"X-API-Key": READER}).json()
    assert (known["status"], known["parts"]) == ("ok", {"edge": "ok", "services": "ok"})
    assert watched.request("GET", "/health", {"X-API-Key": STRANGER}).json() == {"status": "ok"}


def test_metrics_need_the_permission(watched: GatewayHarness) -> None:
    assert watched.request("GET", "/metrics").status == 401
    assert watched.request("GET", "/metrics", {"X-API-Key": STRANGER}).status == 403
    answer = watched.request("GET", "/metrics", {"X-API-Key": READER})
    assert (answer.header("Content-Type") or "").startswith("text/plain")


def test_metrics_on_a_listener_of_their_own_need_none(watched: GatewayHarness) -> None:
    import socket

    port = watched.config["server"]["listen"][0]["port"]  # type: ignore[index, call-overload]
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        reader = Reader(sock)
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"portico_build_info" in reader.answer().body
        sock.sendall(b"GET /counted/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert reader.answer().status == 404, "the metrics listener leads nowhere else"


def test_what_is_counted(watched: GatewayHarness, upstream: FakeUpstream) -> None:
    before = scrape(watched)
    for _ in range(5):
        watched.request("GET", "/counted/x")
    watched.request("BREW", "/counted/x")
    for _ in range(3):
        watched.request("GET", "/limited")
    after = scrape(watched)

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    assert grown('portico_requests_total{method="GET",route="counted",status="2xx"}') == 5
    assert grown('portico_requests_total{method="OTHER",route="counted",status="2xx"}') == 1
    assert grown('portico_request_seconds_count{route="counted"}') == 6
    assert grown('portico_upstream_requests_total{outcome="2xx",upstream="up"}') >= 6
    assert grown('portico_upstream_seconds_count{upstream="up"}') >= 6
    assert after['portico_limit_refused_total{limit="1/minute",route="limited"}'] >= 2
    assert after["portico_connections"] >= 1
    assert any(name.startswith("portico_build_info{") for name in after)


def test_counters_never_fall_when_a_worker_is_replaced(watched: GatewayHarness, upstream: FakeUpstream) -> None:
    name = 'portico_requests_total{method="GET",route="counted",status="2xx"}'
    watched.request("GET", "/counted/x")
    before = scrape(watched)
    old = edge_pid(watched)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: edge_pid(watched) not in (0, old) and state(watched) == "ready", 15)
    after = scrape(watched)
    for counter, value in before.items():
        if counter.endswith(("_total", "_count", "_sum")) or "_bucket{" in counter:
            assert after.get(counter, 0.0) >= value, counter
    watched.request("GET", "/counted/x")
    assert scrape(watched)[name] == after[name] + 1


def test_many_routes_are_counted_in_pages_and_hold_nobody_up(mode: bool, shared_upstream: FakeUpstream) -> None:
    config = {
        "upstreams": {"up": {"targets": [shared_upstream.url]}},
        "keys": [{"id": "k", "sha256": hashlib.sha256(READER.encode()).hexdigest(), "permissions": ["metrics:read"]}],
        "routes": [{"name": f"r{n}", "paths": [f"/r{n}"], "upstream": "up"} for n in range(1200)],
    }
    with GatewayHarness(config, compiled=mode) as gateway:
        for n in (0, 600, 1199, 1199):
            gateway.request("GET", f"/r{n}")
        found = scrape(gateway)
        counted = {name: value for name, value in found.items() if name.startswith("portico_requests_total{")}
        labels = 'portico_requests_total{method="GET",route="r%d",status="2xx"}'
        assert [counted[labels % n] for n in (0, 600, 1199)] == [1, 1, 2]
        assert scrape(gateway)[labels % 1199] == 2
        assert found['portico_request_seconds_count{route="r1199"}'] == 2
        assert 'portico_request_seconds_count{route="r1"}' not in found


def edge_pid(gateway: GatewayHarness) -> int:
    return int(next(each["pid"] for each in gateway.status()["processes"] if each["role"] == "edge"))


def state(gateway: GatewayHarness) -> str:
    return str(gateway.status()["state"])


def line_of(gateway: GatewayHarness, request_id: str) -> dict[str, object]:
    """The access log's line of one request."""
    wait_for(lambda: any(line["request_id"] == request_id for line in gateway.access_log()))
    return next(line for line in gateway.access_log() if line["request_id"] == request_id)


def test_a_line_says_what_happened(watched: GatewayHarness, upstream: FakeUpstream) -> None:
    watched.request("POST", "/counted/a?token=secret", {"X-Request-Id": "line-1"}, b"12345")
    line = line_of(watched, "line-1")
    assert line["route"] == "counted"
    assert (line["method"], line["path"], line["status"], line["bytes_in"]) == ("POST", "/counted/a?[redacted]", 200, 5)
    assert (line["client"], line["principal"], line["code"]) == ("127.0.0.1", "-", "")
    assert line["upstream"] == f"127.0.0.1:{upstream.port}"
    assert 0 < int(str(line["duration_us"])) < 5_000_000
    assert str(line["time"]).endswith("Z")


def test_a_key_in_a_path_is_not_logged(watched: GatewayHarness, upstream: FakeUpstream) -> None:
    watched.request("GET", f"/counted/{READER}/x", {"X-Request-Id": "line-2"})
    assert line_of(watched, "line-2")["path"] == "/counted/[redacted]/x"


TARGET = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='#"<>%\\?'), max_size=40)
QUERY = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='#"<>'), max_size=40)
METHOD = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'*+-.^_`|~"), min_size=1, max_size=10)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=TARGET, query=QUERY, method=METHOD)
def test_every_line_parses_whatever_was_asked(
    watched: GatewayHarness, upstream: FakeUpstream, path: str, query: str, method: str
) -> None:
    request_id = f"fuzz-{time.monotonic_ns()}"
    answer = watched.request(method, f"/{path}?{query}", {"X-Request-Id": request_id})
    assert answer.status in (200, 400, 501)
    if answer.status == 200:
        line = line_of(watched, request_id)
        assert line["method"] == method
        assert str(line["path"]).startswith("/")
        assert str(line["path"]).endswith("?[redacted]")


def test_services_that_hang_or_die_touch_no_proxied_route(mode: bool, upstream: FakeUpstream) -> None:
    """What our own paths answer without services is in tests/integration/test_supervisor_life.py (the edge alone)."""
    config = {
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [{"name": "users", "paths": ["/users"], "upstream": "up"}],
    }
    with GatewayHarness(config, compiled=mode) as gateway:
        assert gateway.request("GET", "/api/v1/public/status").status == 200
        pid = services_pid(gateway)
        os.kill(pid, signal.SIGSTOP)
        try:
            assert gateway.request("GET", "/users").status == 200
            assert gateway.request("GET", "/health/live").status == 200
        finally:
            os.kill(pid, signal.SIGKILL)
        while services_pid(gateway) in (0, pid) or state(gateway) != "ready":
            assert gateway.request("GET", "/users").status == 200
            own = gateway.request("GET", "/api/v1/public/status")
            assert own.status == 200 or own.json()["code"] == "services_unavailable"
        assert gateway.request("GET", "/api/v1/public/status").status == 200


def services_pid(gateway: GatewayHarness) -> int:
    return int(next(each["pid"] for each in gateway.status()["processes"] if each["role"] == "services"))


def test_the_edge_loads_nothing_heavy(watched: GatewayHarness) -> None:
    with open(f"/proc/{edge_pid(watched)}/maps") as maps:
        text = maps.read()
    for library in ("pydantic_core", "sqlalchemy", "aiohttp", "_yaml"):
        assert library not in text, library


def test_public_status_and_docs(watched: GatewayHarness) -> None:
    status = watched.request("GET", "/api/v1/public/status").json()
    assert status["version"]
    assert {"public", "app", "mcp", "admin"} <= set(status["layers"])
    docs = watched.request("GET", "/docs")
    assert docs.status == 200
    assert b"http://" not in docs.body.replace(b"http://www.w3.org", b"")
    assert b"https://" not in docs.body
    assert watched.request("GET", "/api/v1/public/docs").status in (301, 302, 307, 308)
    assert "/api/v1/public/status" in json.loads(watched.request("GET", "/openapi.json").body)["paths"]
