"""Connections that live long, break, stall or lie."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import IncompleteAnswer, Reader
from portico.testing.upstream import Connection, Request, response

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


def test_ten_thousand_pipelined_requests(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    opened = upstream.connections
    upstream.handler = lambda request, _: response(body=request.target.encode())
    count = 10_000
    data = b"".join(GET % number for number in range(count))
    before = resident(gateway)
    with gateway.connect(60) as sock:
        sender = threading.Thread(target=sock.sendall, args=(data,), daemon=True)
        sender.start()
        reader = Reader(sock)
        for number in range(count):
            assert reader.answer().body == b"/%d" % number
        sender.join()
    assert upstream.connections - opened <= 1
    assert resident(gateway) - before < 8 * 1024 * 1024


def test_pipelined_refusals_and_answers_come_in_order(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    requests = b"".join(
        b"GET /_portico/x HTTP/1.1\r\nHost: a\r\n\r\n" if number % 2 else GET % number for number in range(50)
    )
    with gateway.connect() as sock:
        sock.sendall(requests)
        reader = Reader(sock)
        assert [reader.answer().status for _ in range(50)] == [200, 404] * 25


def resident(gateway: GatewayHarness) -> int:
    return int(next(p["rss"] for p in gateway.status()["processes"] if p["role"] == "edge"))


def test_a_client_that_leaves_cancels_the_upstream_within_100_ms(
    gateway: GatewayHarness, upstream: FakeUpstream
) -> None:
    noticed: list[float] = []
    asked = threading.Event()

    def handler(_: Request, connection: Connection) -> None:
        asked.set()
        if connection.gone(5):
            noticed.append(time.monotonic())

    upstream.handler = handler
    sock = gateway.connect()
    sock.sendall(GET % 1)
    assert asked.wait(5)
    left = time.monotonic()
    sock.close()
    upstream.wait_for(lambda: bool(noticed))
    assert noticed[0] - left < 0.1


def test_a_client_that_leaves_while_an_answer_streams(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    stopped = threading.Event()

    def handler(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(500):
                connection.send(b"5\r\nhello\r\n")
                time.sleep(0.01)
        except OSError:
            stopped.set()

    upstream.handler = handler
    sock = gateway.connect()
    sock.sendall(GET % 1)
    sock.recv(10)
    sock.close()
    assert stopped.wait(2)


@pytest.mark.parametrize(
    "piece",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_broken_off_answer_is_never_passed_on_as_complete(
    gateway: GatewayHarness, upstream: FakeUpstream, piece: bytes, how: str
) -> None:
    def handler(_: Request, connection: Connection) -> None:
        connection.send(piece)
        time.sleep(0.05)
        connection.reset() if how == "reset" else connection.close()

    upstream.handler = handler
    with pytest.raises((IncompleteAnswer, ConnectionResetError)):
        gateway.request("GET", f"/broken-{how}", {"Connection": "keep-alive"})
    logged = lambda: [line for line in gateway.access_log() if line["path"] == f"/broken-{how}"]  # noqa: E731
    upstream.wait_for(lambda: bool(logged()))
    assert logged()[-1]["code"] == "upstream_truncated"


def test_a_broken_off_answer_to_http_1_0_ends_in_a_reset(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    """Its end is told by the connection's alone, so a good end would pass for the whole answer."""

    def handler(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        time.sleep(0.1)
        connection.close()

    upstream.handler = handler
    with gateway.connect() as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        received = sock.recv(4096)
        assert received.startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(ConnectionResetError):
            sock.recv(4096)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"<html>HTTP/0.9</html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
    ],
)
def test_a_malformed_answer_is_502_and_that_connection_is_closed(
    gateway: GatewayHarness, upstream: FakeUpstream, answer: bytes
) -> None:
    upstream.handler = lambda *_: answer
    got = gateway.request("GET", "/")
    assert (got.status, got.json()["code"]) == (502, "upstream_malformed")
    upstream.wait_for(lambda: upstream.accepted[-1].closed.is_set())


def test_bytes_that_nobody_asked_for_close_the_connection(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    upstream.handler = lambda *_: response(body=b"first") + response(body=b"poison")
    assert gateway.request("GET", "/").body == b"first"
    upstream.wait_for(lambda: upstream.accepted[-1].closed.is_set())
    upstream.handler = lambda *_: response(body=b"second")
    assert gateway.request("GET", "/").body == b"second"


def test_unsolicited_bytes_later_close_the_idle_connection(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    def handler(_: Request, connection: Connection) -> bytes:
        threading.Timer(0.1, connection.send, [response(body=b"poison")]).start()
        return response(body=b"first")

    upstream.handler = handler
    assert gateway.request("GET", "/").body == b"first"
    upstream.wait_for(lambda: upstream.accepted[-1].closed.is_set())
    upstream.handler = lambda *_: response(body=b"second")
    assert gateway.request("GET", "/").body == b"second"


def test_a_kept_alive_connection_that_closes_costs_no_get(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    """The upstream closes as the next request is on its way: it was not answered, so it is sent again."""
    served: dict[int, int] = {}

    def handler(request: Request, connection: Connection) -> bytes | None:
        served[request.connection] = served.get(request.connection, 0) + 1
        if served[request.connection] > 1:
            connection.close()
            return None
        return response(body=b"fine")

    upstream.handler = handler
    for _ in range(20):
        assert gateway.request("GET", "/").body == b"fine"


def test_a_post_is_never_sent_twice(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    def handler(request: Request, connection: Connection) -> bytes | None:
        if request.method == "POST":
            connection.close()
            return None
        return response()

    upstream.handler = handler
    for number in range(50):
        gateway.request("GET", "/warm")
        answer = gateway.request("POST", f"/{number}", body=b"x")
        assert (answer.status, answer.json()["code"]) == (502, "upstream_reset")
    posts = [request.target for request in upstream.requests if request.method == "POST"]
    assert posts == [f"/{number}" for number in range(50)]


def test_an_upstream_that_is_not_there_is_502(mode: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        config = {
            "upstreams": {"gone": {"targets": [f"http://127.0.0.1:{unused.getsockname()[1]}"]}},
            "routes": [{"name": "r", "paths": ["/*"], "upstream": "gone"}],
        }
        with GatewayHarness(config, compiled=mode) as gateway:
            answer = gateway.request("GET", "/")
            assert (answer.status, answer.json()["code"]) == (502, "upstream_unreachable")
            assert answer.json()["request_id"] == answer.header("X-Request-Id")


def test_the_other_target_takes_what_one_refuses(mode: bool, upstream: FakeUpstream) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        targets = [f"http://127.0.0.1:{unused.getsockname()[1]}", {"url": upstream.url, "weight": 2}]
        config = {
            "upstreams": {"two": {"targets": targets}},
            "routes": [{"name": "r", "paths": ["/*"], "upstream": "two"}],
        }
        with GatewayHarness(config, compiled=mode) as gateway:
            assert [gateway.request("POST", "/", body=b"x").status for _ in range(9)] == [200] * 9


def test_a_silent_upstream_is_504(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    def handler(_: Request, connection: Connection) -> None:
        connection.gone(10)

    upstream.handler = handler
    began = time.monotonic()
    answer = gateway.request("GET", "/")
    assert (answer.status, answer.json()["code"]) == (504, "upstream_timeout")
    assert 1.9 < time.monotonic() - began < 4


def test_a_route_has_its_own_patience_for_a_connection(mode: bool) -> None:
    """The only connection is busy: one route waits half a second for it, the other as long as for an answer."""

    def handler(request: Request, connection: Connection) -> bytes | None:
        if request.target == "/busy":
            connection.gone(1.5)
        return response()

    with FakeUpstream(handler) as slow:
        config = {
            "upstreams": {"u": {"targets": [slow.url], "pool": {"max_connections": 1, "max_idle": 1}}},
            "routes": [
                {"name": "hasty", "paths": ["/hasty"], "upstream": "u", "timeouts": {"connect": "500ms"}},
                {"name": "all", "paths": ["/*"], "upstream": "u"},
            ],
        }
        with GatewayHarness(config, compiled=mode) as gateway, gateway.connect() as sock:
            sock.sendall(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
            slow.wait_for(lambda: bool(slow.requests))
            began = time.monotonic()
            answer = gateway.request("GET", "/hasty")
            assert (answer.status, answer.json()["code"]) == (504, "upstream_timeout")
            assert time.monotonic() - began < 1.3
            assert gateway.request("GET", "/patient").status == 200
            assert Reader(sock).answer().status == 200


def test_weights_are_kept(mode: bool) -> None:
    with FakeUpstream() as one, FakeUpstream() as two:
        config = {
            "upstreams": {"two": {"targets": [one.url, {"url": two.url, "weight": 3}]}},
            "routes": [{"name": "r", "paths": ["/*"], "upstream": "two"}],
        }
        with GatewayHarness(config, compiled=mode) as gateway:
            for _ in range(40):
                gateway.request("GET", "/")
        assert (len(one.requests), len(two.requests)) == (10, 30)


def test_back_pressure_holds_a_fast_upstream(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    """A client that does not read stops the upstream, and nothing is lost when it reads again."""
    size = 64 * 1024 * 1024
    sent = [0]

    def handler(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * 65536
        while sent[0] < size:
            connection.send(block)
            sent[0] += len(block)

    upstream.handler = handler
    before = resident(gateway)
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(GET % 1)
        time.sleep(1.0)
        held = sent[0]
        time.sleep(0.3)
        assert sent[0] == held < size / 2
        assert resident(gateway) - before < 8 * 1024 * 1024
        assert len(Reader(sock).answer().body) == size


def test_back_pressure_holds_a_fast_client(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    go_on = threading.Event()

    def expect(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert go_on.wait(10)

    size = 15 * 1024 * 1024
    before = resident(gateway)
    previous, upstream.expect = upstream.expect, expect
    try:
        with gateway.connect(30) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size)
            sender = threading.Thread(target=sock.sendall, args=(b"y" * size,), daemon=True)
            sender.start()
            time.sleep(0.7)
            assert resident(gateway) - before < 8 * 1024 * 1024
            go_on.set()
            sender.join(20)
            assert Reader(sock).answer().status == 200
    finally:
        upstream.expect = previous
    assert len(upstream.requests[0].body) == size


def test_a_head_that_never_ends_is_cut(mode: bool, upstream: FakeUpstream) -> None:
    config = {
        "server": {"limits": {"header_timeout": "500ms", "idle_timeout": "500ms"}},
        "upstreams": {"u": {"targets": [upstream.url]}},
        "routes": [{"name": "r", "paths": ["/*"], "upstream": "u"}],
    }
    with GatewayHarness(config, compiled=mode) as gateway:
        with gateway.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
            answer = Reader(sock).answer()
            assert (answer.status, answer.json()["code"]) == (408, "head_timeout")
            assert sock.recv(1) == b""
        with gateway.connect() as sock:
            sock.sendall(GET % 1)
            assert Reader(sock).answer().status == 200
            assert sock.recv(1) == b"", "an idle connection is closed"


def test_a_body_that_never_ends_is_cut(mode: bool, upstream: FakeUpstream) -> None:
    config = {
        "server": {"limits": {"idle_timeout": "500ms"}},
        "upstreams": {"u": {"targets": [upstream.url]}},
        "routes": [{"name": "r", "paths": ["/*"], "upstream": "u"}],
    }
    with GatewayHarness(config, compiled=mode) as gateway, gateway.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        answer = Reader(sock).answer()
        assert (answer.status, answer.json()["code"]) == (408, "body_timeout")
        assert sock.recv(1) == b""
        upstream.wait_for(lambda: upstream.accepted[-1].closed.is_set())
        assert upstream.requests == [], "it never became a whole request"


def test_more_connections_than_allowed_get_503(mode: bool, upstream: FakeUpstream) -> None:
    config = {
        "server": {"limits": {"connections": 2}},
        "upstreams": {"u": {"targets": [upstream.url]}},
        "routes": [{"name": "r", "paths": ["/*"], "upstream": "u"}],
    }
    with GatewayHarness(config, compiled=mode) as gateway, gateway.connect() as one, gateway.connect() as two:
        for sock in (one, two):
            sock.sendall(GET % 1)
            assert Reader(sock).answer().status == 200
        answer = gateway.request("GET", "/")
        assert (answer.status, answer.header("Retry-After")) == (503, "1")


def test_more_requests_than_allowed_get_503_and_health_answers(mode: bool) -> None:
    release = threading.Event()

    def handler(*_: object) -> bytes:
        release.wait(10)
        return response()

    with FakeUpstream(handler) as slow:
        config = {
            "server": {"limits": {"in_flight": 1}},
            "upstreams": {"u": {"targets": [slow.url]}},
            "routes": [{"name": "r", "paths": ["/slow"], "upstream": "u"}],
        }
        with GatewayHarness(config, compiled=mode) as gateway, gateway.connect() as sock:
            sock.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            slow.wait_for(lambda: bool(slow.requests))
            answer = gateway.request("GET", "/slow")
            assert (answer.status, answer.json()["code"], answer.header("Retry-After")) == (503, "overloaded", "1")
            assert gateway.request("GET", "/health").status == 200
            release.set()
            assert Reader(sock).answer().status == 200
