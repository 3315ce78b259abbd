"""Traces through the edge: what upstreams are told, which spans come out of a request, and what never comes out."""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.collector import Collector, Seen

from portico.testing import FakeUpstream, GatewayHarness, free_port, wait_for
from portico.testing.client import Answer, Reader
from portico.testing.upstream import Connection, Request, echo, response

KEY = "pk_" + "t" * 40
PARENT = "00f067aa0ba902b7"
WEBSOCKET = (
    "GET /ws HTTP/1.1\r\nHost: a\r\ntraceparent: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
MALFORMED = [
    "",
    "00",
    "00-" + "1" * 32 + "-" + PARENT,
    "00-" + "1" * 31 + "-" + PARENT + "-01",
    "00-" + "0" * 32 + "-" + PARENT + "-01",
    "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
    "00-" + "1" * 32 + "-" + PARENT + "-01-",
    "00-" + "1" * 32 + "-" + PARENT + "-01-extra",
    "00-" + "1" * 32 + "-" + PARENT + "-0",
    "00-" + "1" * 32 + "-" + PARENT + "-0g",
    "00-" + "A" * 32 + "-" + PARENT + "-01",
    "00-" + "1" * 32 + "-" + PARENT.upper() + "-01",
    "0-" + "1" * 33 + "-" + PARENT + "-01",
    "ff-" + "1" * 32 + "-" + PARENT + "-01",
    "00_" + "1" * 32 + "_" + PARENT + "_01",
]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(mode: bool, shared_upstream: FakeUpstream, collector: Collector) -> Iterator[GatewayHarness]:
    """A gateway that samples nothing by itself and believes its callers."""
    dead = f"http://127.0.0.1:{free_port()}"
    config = {
        "upstreams": {
            "up": {"targets": [shared_upstream.url], "timeouts": {"first_byte": "500ms"}},
            "half": {"targets": [dead, shared_upstream.url], "breaker": {"min_requests": 1000}},
            "dead": {"targets": [dead], "breaker": {"min_requests": 1000}},
        },
        "keys": [{"id": "one", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "tenant": "acme"}],
        "routes": [
            {"name": "half", "paths": ["/half"], "upstream": "half"},
            {"name": "dead", "paths": ["/dead"], "upstream": "dead"},
            {"name": "guarded", "paths": ["/guarded"], "upstream": "up", "auth": ["api_key"]},
            {"name": "scarce", "paths": ["/scarce"], "upstream": "up", "limits": [{"rate": "1/hour"}]},
            {"name": "users", "paths": ["/users", "/users/{id}"], "upstream": "up"},
            {"name": "bare", "paths": ["/bare"], "upstream": "up", "headers": {"request": {"remove": ["traceparent"]}}},
            {"name": "all", "paths": ["/*"], "upstream": "up"},
        ],
        "tracing": {
            "endpoint": collector.url,
            "sample": 0,
            "trust": True,
            "headers": {"x-collector-key": "${COLLECTOR_KEY}"},
            "service_name": "shop",
        },
    }
    with GatewayHarness(config, compiled=mode, env={"COLLECTOR_KEY": "s3cret-of-collector"}) as gateway:
        yield gateway


class Traced:
    """One traced request: its answer, and its spans once they are there."""

    def __init__(
        self, gateway: GatewayHarness, collector: Collector, path: str, headers: dict[str, str] | None = None,
        method: str = "GET", flags: str = "01",
    ) -> None:  # fmt: skip
        self.collector = collector
        self.trace_id = secrets.token_hex(16)
        fields = {"traceparent": f"00-{self.trace_id}-{PARENT}-{flags}", **(headers or {})}
        self.answer: Answer = gateway.request(method, path, fields)

    def spans(self, count: int) -> list[Seen]:
        return self.collector.complete(self.trace_id, count)


def told(request: Request) -> list[str]:
    """The parts of the one traceparent that the upstream has got."""
    (value,) = request.all("traceparent")
    return value.split("-")


def test_a_request_is_one_span_and_one_for_its_upstream(
    traced: GatewayHarness, upstream: FakeUpstream, collector: Collector
) -> None:
    asked = Traced(traced, collector, "/users/7?token=hidden", {"tracestate": "a=1, b@c=2"})
    server, client = asked.spans(2)
    assert (server.service, server.kind, server.parent, server.name) == (
        "shop-edge",
        "server",
        PARENT,
        "GET /users/{id}",
    )
    assert (client.service, client.kind, client.parent, client.failed) == ("shop-edge", "client", server.id, False)
    assert server.instance.endswith("/edge-0")
    assert told(upstream.requests[0]) == ["00", asked.trace_id, client.id, "01"]
    assert upstream.requests[0].all("tracestate") == ["a=1, b@c=2"]
    found = server.attributes
    assert found["http.request.method"] == "GET"
    assert found["url.path"] == "/users/7"
    assert found["http.route"] == "/users/{id}"
    assert found["http.response.status_code"] == 200
    assert found["client.address"] == "127.0.0.1"
    assert found["portico.route"] == "users"
    assert found["portico.request_id"] == upstream.requests[0].header("x-request-id")
    assert client.attributes["server.address"] == upstream.url.removeprefix("http://")
    assert client.attributes["http.response.status_code"] == 200
    assert server.start <= client.start <= client.end <= server.end
    assert [name for name, _ in server.events] == ["identify", "admit"]
    assert [name for name, _ in client.events] == ["sent", "answered"]
    times = [at for _, at in server.events + client.events]
    assert times == sorted(times)
    assert server.start <= times[0]
    assert times[-1] <= server.end
    line = next(each for each in traced.access_log(1) if each.get("trace_id") == asked.trace_id)
    assert line["request_id"] == found["portico.request_id"]
    assert collector.paths[0] == "/v1/traces"
    assert collector.headers[0]["x-collector-key"] == "s3cret-of-collector"


def test_the_flag_of_a_trusted_caller_is_kept(
    traced: GatewayHarness, upstream: FakeUpstream, collector: Collector
) -> None:
    asked = Traced(traced, collector, "/quiet", flags="00")
    version, trace_id, parent, flags = told(upstream.requests[0])
    assert (version, trace_id, flags) == ("00", asked.trace_id, "00")
    assert parent != PARENT
    assert len(parent) == 16
    Traced(traced, collector, "/loud").spans(2)
    assert collector.trace(asked.trace_id) == []
    assert all("trace_id" not in line for line in traced.access_log(1) if line["path"] == "/quiet")


@pytest.mark.parametrize("given", MALFORMED)
def test_a_malformed_parent_is_replaced(traced: GatewayHarness, upstream: FakeUpstream, given: str) -> None:
    traced.request("GET", "/", {"traceparent": given, "tracestate": "a=1"})
    version, trace_id, parent, flags = told(upstream.requests[0])
    assert (version, flags) == ("00", "00")
    assert trace_id not in given
    assert trace_id.strip("0")
    assert len(parent) == 16
    assert upstream.requests[0].all("tracestate") == []


def test_two_parents_are_none(traced: GatewayHarness, upstream: FakeUpstream) -> None:
    one, other = (f"00-{digit * 32}-{PARENT}-01" for digit in "12")
    head = f"GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {one}\r\nX-A: b\r\ntraceparent: {other}\r\n\r\n"
    with traced.connect() as sock:
        sock.sendall(head.encode())
        Reader(sock).answer("GET")
    assert told(upstream.requests[0])[1] not in (one[3:35], other[3:35])
    assert upstream.requests[0].header("x-a") == "b"


@pytest.mark.parametrize(
    ("state", "kept"),
    [("a=1", True), ("a=1,,b=2,", True), ("a=1,a=2", False), ("A=1", False), ("a", False), ("a=1=2", False),
     (",".join(f"k{index}=v" for index in range(32)), True), (",".join(f"k{index}=v" for index in range(33)), False)],
)  # fmt: skip
def test_a_tracestate_goes_on_when_it_keeps_the_grammar(
    traced: GatewayHarness, upstream: FakeUpstream, collector: Collector, state: str, kept: bool
) -> None:
    Traced(traced, collector, "/", {"tracestate": state}, flags="00")
    assert upstream.requests[0].all("tracestate") == ([state] if kept else [])


def test_a_later_version_is_read_as_far_as_it_is_known(traced: GatewayHarness, upstream: FakeUpstream) -> None:
    traced.request("GET", "/", {"traceparent": f"cc-{'3' * 32}-{PARENT}-00-more"})
    assert told(upstream.requests[0])[:2] == ["00", "3" * 32]


def test_a_route_may_take_the_field_away(traced: GatewayHarness, upstream: FakeUpstream, collector: Collector) -> None:
    Traced(traced, collector, "/bare")
    assert upstream.requests[0].all("traceparent") == []


def test_a_retry_is_a_second_span(traced: GatewayHarness, upstream: FakeUpstream, collector: Collector) -> None:
    upstream.handler = lambda request, connection: (
        response(503) if len(upstream.requests) == 1 else echo(request, connection)
    )
    asked = Traced(traced, collector, "/again")
    assert asked.answer.status == 200
    server, first, second = asked.spans(3)
    assert (first.parent, second.parent) == (server.id, server.id)
    assert (first.failed, first.attributes["http.response.status_code"]) == (True, 503)
    assert (second.failed, second.attributes["http.response.status_code"]) == (False, 200)
    assert second.attributes["http.request.resend_count"] == 1
    assert (server.failed, server.attributes["http.response.status_code"]) == (False, 200)
    assert [told(each)[2] for each in upstream.requests] == [first.id, second.id]


def test_a_target_that_can_t_be_reached_is_a_span_too(
    traced: GatewayHarness, upstream: FakeUpstream, collector: Collector
) -> None:
    found: list[list[Seen]] = []
    while not any(len(spans) == 3 for spans in found) and len(found) < 4:  # the dead one has every other turn
        asked = Traced(traced, collector, "/half")
        assert asked.answer.status == 200
        asked.spans(2)
        Traced(traced, collector, "/").spans(2)  # what came before has been sent by now
        found.append(collector.trace(asked.trace_id))
    server, first, second = next(spans for spans in found if len(spans) == 3)
    assert first.attributes["error.type"] == "upstream_unreachable"
    assert "http.response.status_code" not in first.attributes
    assert (first.failed, second.failed, server.failed) == (True, False, False)


def test_an_upstream_that_fails_marks_both(traced: GatewayHarness, collector: Collector) -> None:
    asked = Traced(traced, collector, "/dead")
    assert asked.answer.status == 502
    server, *attempts = asked.spans(2)
    assert (server.failed, server.attributes["error.type"]) == (True, "upstream_unreachable")
    assert server.attributes["http.response.status_code"] == 502
    assert all(each.failed and each.attributes["error.type"] == "upstream_unreachable" for each in attempts)


def test_an_upstream_that_is_slow_or_breaks_off(
    traced: GatewayHarness, upstream: FakeUpstream, collector: Collector
) -> None:
    upstream.handler = lambda *_: None
    slow = Traced(traced, collector, "/slow", method="POST")
    server, client = slow.spans(2)
    assert slow.answer.status == 504
    assert (server.attributes["error.type"], client.attributes["error.type"]) == ("upstream_timeout",) * 2
    assert server.failed
    assert client.failed


@pytest.mark.parametrize(
    ("path", "status", "code", "step"),
    [("/guarded", 401, "credentials_missing", "auth"), ("/scarce", 429, "rate_limited", "rate")],
)
def test_a_refusal_is_marked(
    traced: GatewayHarness, collector: Collector, path: str, status: int, code: str, step: str
) -> None:
    traced.request("GET", path)
    asked = Traced(traced, collector, path)
    assert asked.answer.status == status
    (server,) = asked.spans(1)
    assert server.attributes["http.response.status_code"] == status
    assert server.attributes["portico.code"] == server.attributes["error.type"] == asked.answer.json()["code"] == code
    assert server.attributes["portico.step"] == step
    assert not server.failed, "a caller's mistake is no failure of the server's (semantic conventions for HTTP)"


def test_the_caller_is_named_and_nothing_secret_is_told(
    traced: GatewayHarness, upstream: FakeUpstream, collector: Collector
) -> None:
    headers = {"X-API-Key": KEY, "Cookie": "session=hush-cookie", "Authorization": "Basic aHVzaC1iYXNpYw=="}
    asked = Traced(
        traced, collector, f"/guarded?key=hush-query&k={KEY}", {"X-API-Key": KEY, "Cookie": headers["Cookie"]}
    )
    assert asked.answer.status == 200
    server, _ = asked.spans(2)
    assert (server.attributes["portico.key"], server.attributes["portico.tenant"]) == ("one", "acme")
    assert [name for name, _ in server.events] == ["identify", "admit", "authenticate", "limit"]
    other = Traced(traced, collector, f"/users/{KEY}", {"Authorization": headers["Authorization"]})
    assert other.spans(2)[0].attributes["url.path"] == "/users/[redacted]"
    for secret in (KEY, "hush", "aHVzaC", "s3cret-of-collector"):
        assert secret.encode() not in collector.bytes, secret
    assert "s3cret-of-collector" not in traced.output()


def test_a_stream_s_span_ends_with_the_stream(
    traced: GatewayHarness, upstream: FakeUpstream, collector: Collector
) -> None:
    def ticks(request: Request, connection: Connection) -> None:
        if request.target == "/":
            connection.send(response())
            return
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        wait_for(lambda: len(upstream.requests) > 1)
        connection.send(b"3\r\ntwo\r\n0\r\n\r\n")

    upstream.handler = ticks
    trace_id = secrets.token_hex(16)
    with traced.connect() as sock:
        sock.sendall(f"GET /ticks HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{trace_id}-{PARENT}-01\r\n\r\n".encode())
        assert b"one" in receive(sock, b"one")
        meanwhile = Traced(traced, collector, "/")
        assert b"two" in receive(sock, b"0\r\n\r\n")
    server, client = collector.complete(trace_id, 2)
    other = meanwhile.spans(2)[0]
    assert server.start < other.start < server.end
    assert client.end == server.end


def test_a_websocket_s_span_ends_with_it(traced: GatewayHarness, upstream: FakeUpstream, collector: Collector) -> None:
    def switch(_: Request, connection: Connection) -> None:
        connection.send(SWITCH)
        connection.send(connection.sock.recv(100))

    upstream.handler = switch
    trace_id = secrets.token_hex(16)
    with traced.connect() as sock:
        sock.sendall((WEBSOCKET % f"00-{trace_id}-{PARENT}-01").encode())
        receive(sock, b"\r\n\r\n")
        sock.sendall(b"hello")
        receive(sock, b"hello")
        assert collector.trace(trace_id) == []
    server, client = collector.complete(trace_id, 2)
    assert server.attributes["http.response.status_code"] == client.attributes["http.response.status_code"] == 101
    assert not server.failed
    assert told(upstream.requests[0])[2] == client.id


def receive(sock: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


def reconfigured(gateway: GatewayHarness, **tracing: Any) -> dict[str, Any]:
    assert isinstance(gateway.config, dict)
    config = {**gateway.config, "tracing": {**gateway.config["tracing"], **tracing}}
    gateway.rewrite(config)
    gateway.reload()
    return config


def test_a_share_of_strangers_requests_is_sampled_by_trace_id(
    traced: GatewayHarness, upstream: FakeUpstream, collector: Collector
) -> None:
    """Reloads the gateway: without trust the caller's flag says nothing, and its id decides, alike each time."""
    reconfigured(traced, trust=False, sample="25%")
    ids = [secrets.token_hex(16) for _ in range(500)]
    try:
        with traced.connect() as sock:
            reader = Reader(sock)
            for trace_id in ids * 2:
                flags = "01" if len(upstream.requests) % 2 else "00"
                sock.sendall(
                    f"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{trace_id}-{PARENT}-{flags}\r\n\r\n".encode()
                )
                reader.answer("GET")
        assert [told(each)[1] for each in upstream.requests] == ids * 2
        flags = [told(each)[3] for each in upstream.requests]
        assert flags[:500] == flags[500:]
        sampled = flags[:500].count("01")
        assert 77 <= sampled <= 173  # five standard deviations of 125 ± 9.7
        upstream.requests.clear()
        with traced.connect() as sock:
            reader = Reader(sock)
            for _ in range(500):
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                reader.answer("GET")
        assert 77 <= [told(each)[3] for each in upstream.requests].count("01") <= 173
        assert len({told(each)[1] for each in upstream.requests}) == 500
    finally:
        reconfigured(traced)


def test_a_reload_switches_it_off_and_on(traced: GatewayHarness, upstream: FakeUpstream, collector: Collector) -> None:
    assert isinstance(traced.config, dict)
    traced.rewrite({name: value for name, value in traced.config.items() if name != "tracing"})
    traced.reload()
    asked = Traced(traced, collector, "/off", {"tracestate": "NOT valid"})
    assert upstream.requests[0].all("traceparent") == [f"00-{asked.trace_id}-{PARENT}-01"], "passed on as it came"
    assert upstream.requests[0].all("tracestate") == ["NOT valid"]
    with Collector() as other:
        reconfigured(traced, endpoint=other.url + "/v1/traces", service_name="other")
        again = Traced(traced, other, "/on")
        assert {span.service for span in again.spans(2)} == {"other-edge"}
        assert other.paths[0] == "/v1/traces"
        reconfigured(traced)
    Traced(traced, collector, "/back").spans(2)
    assert collector.trace(asked.trace_id) == []
    assert collector.trace(again.trace_id) == []
