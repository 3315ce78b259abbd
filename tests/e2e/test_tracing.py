"""Traces through the services, and collectors that are slow, ill or not there: nothing changes for a request."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.collector import Collector, Seen, well
from tests.e2e.api import Api

from portico.testing import FakeUpstream, GatewayHarness, free_port, wait_for
from portico.testing.client import Reader

PARENT = "00f067aa0ba902b7"
ASK = "GET /u HTTP/1.1\r\nHost: a\r\ntraceparent: 00-%s-" + PARENT + "-01\r\n\r\n"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def gateway(collector: Collector, redis_server: Any) -> Iterator[GatewayHarness]:
    with FakeUpstream() as upstream:
        config = {
            "state": {"url": redis_server.url, "wait": "1s"},
            "upstreams": {"u": {"targets": [upstream.url]}},
            "routes": [{"name": "u", "paths": ["/u"], "upstream": "u"}],
            "tracing": {"endpoint": collector.url, "sample": 0, "trust": True},
        }
        with GatewayHarness(config) as gateway:
            yield gateway


def sent_to(gateway: GatewayHarness, endpoint: str | None) -> None:
    """Reload, with spans to another collector; None: without any."""
    assert isinstance(gateway.config, dict)
    config = {name: value for name, value in gateway.config.items() if name != "tracing"}
    if endpoint is not None:
        config["tracing"] = {**gateway.config["tracing"], "endpoint": endpoint}
    gateway.rewrite(config)
    gateway.reload()


def traced(gateway: GatewayHarness, number: int) -> list[float]:
    """The seconds of traced requests through the edge, one after another on one connection."""
    took: list[float] = []
    with gateway.connect() as sock:
        reader = Reader(sock)
        for _ in range(number):
            began = time.perf_counter()
            sock.sendall((ASK % secrets.token_hex(16)).encode())
            assert reader.answer("GET").status == 200
            took.append(time.perf_counter() - began)
    return took


def ask(gateway: GatewayHarness, method: str, path: str, body: Any = None, who: str | None = None) -> tuple[int, str]:
    """Status of the answer, and the trace's id."""
    trace_id = secrets.token_hex(16)
    fields = {"traceparent": f"00-{trace_id}-{PARENT}-01"}
    return Api(gateway).send(method, path, who, body, fields).status, trace_id


def counted(gateway: GatewayHarness) -> dict[str, int]:
    text = gateway.request("GET", "/metrics", {"X-API-Key": Api(gateway).admin}).body.decode()
    found = re.findall(r"^portico_spans_(\w+)_total (\S+)$", text, re.MULTILINE)
    return {name: int(float(value)) for name, value in found}


def process(gateway: GatewayHarness, role: str) -> dict[str, Any]:
    return next(dict(each) for each in gateway.status()["processes"] if each["role"] == role)


def children(spans: list[Seen], parent: Seen) -> list[Seen]:
    return [span for span in spans if span.parent == parent.id]


def one(spans: list[Seen]) -> Seen:
    (span,) = spans
    return span


def test_a_request_to_the_services_is_one_tree(gateway: GatewayHarness, collector: Collector) -> None:
    status, made = ask(gateway, "POST", "/api/v1/admin/keys", {"name": "traced"}, Api(gateway).admin)
    assert status == 201
    wait_for(lambda: any(span.name == "COMMIT" for span in collector.trace(made)), 10)
    wait_for(lambda: any(span.service == "portico-edge" for span in collector.trace(made)), 10)
    spans = collector.trace(made)
    server = one([span for span in spans if span.parent == PARENT])
    client = one(children(spans, server))
    handler = one(children(spans, client))
    statements = children(spans, handler)
    assert (server.service, server.kind, server.name) == ("portico-edge", "server", "POST /api/v1/admin/keys")
    assert (client.service, client.kind, client.attributes["portico.upstream"]) == (
        "portico-edge",
        "client",
        "@services",
    )
    assert (handler.service, handler.kind, handler.name) == ("portico-services", "server", "POST /api/v1/admin/keys")
    assert handler.attributes["http.response.status_code"] == 201
    assert handler.attributes["portico.request_id"] == server.attributes["portico.request_id"]
    assert {span.id for span in spans} == {span.id for span in [server, client, handler, *statements]}
    assert {span.kind for span in statements} == {"client"}
    assert {span.attributes["db.system.name"] for span in statements} == {"sqlite"}
    inserted = next(span for span in statements if span.name == "INSERT api_keys")
    events = [name for name, _ in server.events]
    assert events[2:5] == ["authenticate", "waited", "authorize"], "the edge had not met this key before"
    assert inserted.attributes["db.operation.name"] == "INSERT"
    assert inserted.attributes["db.collection.name"] == "api_keys"
    assert not any("db.query" in name for span in statements for name in span.attributes)
    inside = [server, client, handler, inserted]
    assert [span.start for span in inside] == sorted(span.start for span in inside)
    assert client.end <= server.end
    assert inserted.end <= handler.end  # which may end after the edge has passed its answer on
    assert not any(span.failed for span in spans)


def test_commands_to_redis_are_spans(gateway: GatewayHarness, collector: Collector) -> None:
    status, tried = ask(gateway, "POST", "/auth/login", {"email": "nobody@example.com", "password": "hush-password"})
    assert status == 401
    wait_for(lambda: any(span.attributes.get("db.system.name") == "redis" for span in collector.trace(tried)), 10)
    wait_for(lambda: any(span.kind == "server" for span in collector.trace(tried)), 10)
    spans = collector.trace(tried)
    commands = [span for span in spans if span.attributes.get("db.system.name") == "redis"]
    assert {span.name for span in commands} <= {"GET", "SET", "EVALSHA", "EVAL", "UNLINK"}
    assert all(span.attributes["db.operation.name"] == span.name for span in commands)
    handler = one([span for span in spans if span.service == "portico-services" and span.kind == "server"])
    assert {span.parent for span in commands} == {handler.id}
    assert handler.attributes["http.response.status_code"] == 401
    assert not handler.failed


def test_profile_with_a_key(gateway: GatewayHarness, collector: Collector) -> None:
    admin = Api(gateway).admin
    status, trace_id = ask(gateway, "GET", "/api/v1/auth/profile", who=admin)
    assert status == 200
    spans = collector.complete(trace_id, 4)
    server = one([span for span in spans if span.parent == PARENT])
    assert server.attributes["portico.key"]
    assert "authenticate" in [name for name, _ in server.events]
    assert any(span.name.startswith("SELECT ") for span in spans)
    for secret in (admin, "hush-password"):
        assert secret.encode() not in collector.bytes
    assert admin[3:20].encode() not in collector.bytes


def test_spans_are_taken_from_the_edge_alone(gateway: GatewayHarness) -> None:
    assert gateway.request("POST", "/_portico/spans", body=b"{}").status == 404


def test_the_edge_loads_nothing_of_opentelemetry(gateway: GatewayHarness) -> None:
    """Its encoder is a library in C, so that the processes that have it show it."""
    maps = {role: Path(f"/proc/{process(gateway, role)['pid']}/maps").read_text() for role in ("edge", "services")}
    assert "/google/_upb/" in maps["services"]
    assert "/google/_upb/" not in maps["edge"]


def hung(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.2)
    while handler.connection.recv(1):
        pass  # says nothing until the other side leaves


def huge(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 33))
    handler.end_headers()
    block = b"x" * 65536
    for _ in range(1 << 10):
        handler.wfile.write(block)


def moved(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def ill(handler: BaseHTTPRequestHandler) -> None:
    well(handler, 500)


@pytest.mark.parametrize(
    "answer", [ill, pytest.param(moved, marks=pytest.mark.long), None], ids=["500", "302", "absent"]
)
def test_a_collector_that_takes_nothing_is_told_of_once(
    gateway: GatewayHarness, collector: Collector, answer: Callable[[BaseHTTPRequestHandler], None] | None
) -> None:
    dropped, said = counted(gateway)["dropped"], gateway.output().count("the collector does not take spans")
    with Collector(answer) as bad:
        sent_to(gateway, bad.url if answer else f"http://127.0.0.1:{free_port()}")
        for _ in range(3):
            traced(gateway, 5)
            number = bad.batches
            wait_for(lambda number=number: answer is None or bad.batches > number, 10)  # type: ignore[misc]
        wait_for(lambda: counted(gateway)["dropped"] >= dropped + 10, 15)
        assert gateway.output().count("the collector does not take spans") == said + 1
        assert "Traceback" not in gateway.output()
        if answer is not None:
            bad.answer = well
            traced(gateway, 1)
            wait_for(lambda: "the collector takes spans again" in gateway.output(), 10)
    sent_to(gateway, collector.url)
    exported = counted(gateway)["exported"]
    traced(gateway, 1)
    wait_for(lambda: counted(gateway)["exported"] >= exported + 2, 10)


def test_a_huge_answer_is_not_read(gateway: GatewayHarness, collector: Collector) -> None:
    before = process(gateway, "services")["rss"]
    with Collector(huge) as bad:
        sent_to(gateway, bad.url)
        for number in range(1, 4):
            traced(gateway, 5)
            wait_for(lambda number=number: bad.batches >= number, 10)  # type: ignore[misc]
    sent_to(gateway, collector.url)
    _, trace_id = ask(gateway, "GET", "/api/v1/public/status")
    collector.complete(trace_id, 3)
    assert process(gateway, "services")["rss"] - before < 16 * 2**20


def test_a_collector_that_never_answers_changes_nothing(gateway: GatewayHarness, collector: Collector) -> None:
    """Rounds with it and without tracing take turns; then more spans come than may wait."""
    with_it: list[float] = []
    without: list[float] = []
    with Collector(hung) as bad:
        for _ in range(3):
            sent_to(gateway, None)
            without += traced(gateway, 200)
            sent_to(gateway, bad.url)
            with_it += traced(gateway, 200)
        assert statistics.median(with_it) < statistics.median(without) * 2 + 0.001
        assert statistics.quantiles(with_it, n=100)[-1] < statistics.quantiles(without, n=100)[-1] * 3 + 0.03
        wait_for(lambda: bad.batches > 0, 10)
        before = counted(gateway)["dropped"]
        traced(gateway, 1500)
        sizes = [process(gateway, role)["rss"] for role in ("edge", "services")]
        traced(gateway, 1500)
        grown = [process(gateway, role)["rss"] - size for role, size in zip(("edge", "services"), sizes, strict=True)]
        assert max(grown) < 24 * 2**20
        wait_for(lambda: counted(gateway)["dropped"] > before, 15)
        status, _ = ask(gateway, "GET", "/api/v1/public/status")
        assert status == 200
    sent_to(gateway, collector.url)


def test_without_the_services_spans_are_dropped_and_requests_go_on(
    gateway: GatewayHarness, collector: Collector
) -> None:
    before = counted(gateway)["dropped"]
    pid = process(gateway, "services")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert max(traced(gateway, 100)) < 1.0
        wait_for(lambda: counted(gateway)["dropped"] >= before + 200, 10)
    finally:
        os.kill(pid, signal.SIGKILL)
    traced(gateway, 100)
    wait_for(lambda: process(gateway, "services")["state"] == "ready", 30)
    status, trace_id = ask(gateway, "GET", "/api/v1/public/status")
    assert status == 200
    collector.complete(trace_id, 3)


def test_a_stop_sends_what_there_is_and_waits_for_nobody(gateway: GatewayHarness, collector: Collector) -> None:
    _, trace_id = ask(gateway, "GET", "/api/v1/public/status")
    assert gateway.stop() == 0
    assert len(collector.trace(trace_id)) >= 3
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never reads
        assert isinstance(gateway.config, dict)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        gateway.rewrite({**gateway.config, "tracing": {**gateway.config["tracing"], "endpoint": endpoint}})
        gateway.start()
        traced(gateway, 50)
        ask(gateway, "GET", "/api/v1/public/status")
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 6.0
