"""What reaches the upstream, and what comes back (RFC 9110, RFC 9112)."""

from __future__ import annotations

import re
import socket
import time

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Reader
from portico.testing.upstream import Connection, Request, response

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_method_target_fields_and_body_arrive_as_sent(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    answer = gateway.request("PATCH", "/a/b%20c?q=1&r=%2F", {"X-One": "1", "x-two": "  two  "}, b"hello")
    assert answer.status == 200
    request = upstream.requests[0]
    assert (request.method, request.target, request.body) == ("PATCH", "/a/b%20c?q=1&r=%2F", b"hello")
    assert request.header("X-One") == "1"
    assert request.header("x-two") == "two"
    assert request.header("Content-Length") == "5"
    assert answer.header("Content-Type") == "application/json"


def test_repeated_fields_stay_apart_and_in_order(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    gateway.request("GET", "/", [("Cookie", "a=1"), ("X-Same", "1"), ("X-Same", "2"), ("Cookie", "b=2")])
    request = upstream.requests[0]
    assert request.all("X-Same") == ["1", "2"]
    assert request.all("Cookie") == ["a=1", "b=2"]


def test_a_browser_s_session_here_is_no_upstream_s_business(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    sent = ["a=1; portico_session=secret; b=2", "portico_session=secret; portico_refresh=secret", "portico_sessions=c"]
    gateway.request("GET", "/", [("X-Before", "1"), *(("cookie", each) for each in sent), ("X-Behind", "2")])
    request = upstream.requests[0]
    assert request.all("Cookie") == ["a=1; b=2", "portico_sessions=c"]
    assert (request.header("X-Before"), request.header("X-Behind")) == ("1", "2")
    assert b"secret" not in request.raw_head


def test_hop_by_hop_fields_are_removed_both_ways(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    upstream.handler = lambda *_: response(
        headers=[("Connection", "X-Gone"), ("X-Gone", "1"), ("Keep-Alive", "timeout=5"), ("X-Stays", "1")]
    )
    sent = [
        ("Connection", "close, X-Private"),
        ("X-Private", "1"),
        ("Keep-Alive", "1"),
        ("TE", "trailers"),
        ("X-Kept", "1"),
    ]
    answer = gateway.request("GET", "/", [*sent, ("Proxy-Connection", "close"), ("Trailer", "X-T")])
    request = upstream.requests[0]
    for name in ("X-Private", "Keep-Alive", "TE", "Proxy-Connection", "Trailer", "Connection"):
        assert request.header(name) is None, name
    assert request.header("X-Kept") == "1"
    assert answer.header("X-Gone") is None
    assert answer.header("Keep-Alive") is None
    assert answer.header("X-Stays") == "1"


def test_upgrade_to_anything_else_is_dropped_and_its_body_stays_a_body(
    gateway: GatewayHarness, upstream: FakeUpstream
) -> None:
    body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    with gateway.connect() as sock:
        sock.sendall(head + body)
        assert Reader(sock).answer().status == 200
        time.sleep(0.2)
    assert [request.target for request in upstream.requests] == ["/up"]
    assert upstream.requests[0].body == body
    assert upstream.requests[0].header("Upgrade") is None


def test_the_edge_says_who_called(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    answer = gateway.request(
        "GET", "/", {"Host": "shop.example", "X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
    )
    request = upstream.requests[0]
    assert request.all("X-Forwarded-For") == ["127.0.0.1"], "an untrusted client's word was passed on"
    assert request.header("X-Forwarded-Proto") == "http"
    assert request.header("X-Forwarded-Host") == "shop.example"
    assert request.all("Forwarded") == ['for=127.0.0.1;host="shop.example";proto=http']
    assert request.header("Via") == "1.1 portico"
    assert request.header("Host") == "shop.example"
    assert UUID7.fullmatch(request.header("X-Request-Id") or "")
    assert answer.header("X-Request-Id") == request.header("X-Request-Id")


def test_a_sane_request_id_is_kept_and_an_odd_one_replaced(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    assert gateway.request("GET", "/", {"X-Request-Id": "order-17.a_b"}).header("X-Request-Id") == "order-17.a_b"
    assert upstream.requests[0].all("X-Request-Id") == ["order-17.a_b"]
    for odd in ("a b", "x" * 129, '"><script>'):
        assert UUID7.fullmatch(gateway.request("GET", "/", {"X-Request-Id": odd}).header("X-Request-Id") or "")


def test_an_upstreams_own_request_id_does_not_come_twice(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    upstream.handler = lambda *_: response(headers=[("X-Request-Id", "theirs")])
    assert gateway.request("GET", "/", {"X-Request-Id": "ours"}).all("X-Request-Id") == ["ours"]


def test_traceparent_is_passed_on(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    gateway.request("GET", "/", {"traceparent": trace})
    assert upstream.requests[0].all("traceparent") == [trace]


def test_credentials_that_the_edge_has_not_used_are_passed_on(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    gateway.request("GET", "/", {"Authorization": "Basic abc", "X-API-Key": "k"})
    assert upstream.requests[0].header("Authorization") == "Basic abc"
    assert upstream.requests[0].header("X-API-Key") == "k"


def test_a_forged_principal_is_dropped(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    gateway.request("GET", "/", {"X-Portico-Principal": "admin"})
    assert upstream.requests[0].header("X-Portico-Principal") is None


@pytest.mark.parametrize(
    ("sent", "arrived"),
    [
        ("/users/../admin", "/admin"),
        ("/users/%2e%2e/admin", "/admin"),
        ("/users/.%2E/admin?x=..", "/admin?x=.."),
        ("/a/./b/%2e", "/a/b/"),
        ("/../../x", "/x"),
        ("/a%2Fb//c", "/a%2Fb//c"),
        ("/%7Euser/%c3%a4", "/%7Euser/%c3%a4"),
        ("/a/%252e%252e/b", "/a/%252e%252e/b"),
        ("http://other.example/abs?q", "/abs?q"),
    ],
)
def test_targets(gateway: GatewayHarness, upstream: FakeUpstream, sent: str, arrived: str) -> None:
    assert gateway.request("GET", sent, {"Host": "other.example"}).status == 200
    assert upstream.requests[0].target == arrived


def test_asterisk_form_is_answered_without_an_upstream(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    answer = gateway.request("OPTIONS", "*")
    assert answer.status == 204
    assert "GET" in (answer.header("Allow") or "")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("sent", "arrived"),
    [("/strip/x/y", "/x/y"), ("/strip", "/"), ("/strip/", "/"), ("/%73trip/a%20b/c%2Fd", "/a%20b/c%2Fd")],
)
def test_strip_prefix(gateway: GatewayHarness, upstream: FakeUpstream, sent: str, arrived: str) -> None:
    gateway.request("GET", sent)
    assert upstream.requests[0].target == arrived


def test_preserve_host_off_names_the_target(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    gateway.request("GET", "/renamed", {"Host": "public.example"})
    assert upstream.requests[0].header("Host") == f"127.0.0.1:{upstream.port}"
    assert upstream.requests[0].header("X-Forwarded-Host") == "public.example"


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_and_the_next_answer_on_that_connection(
    gateway: GatewayHarness, upstream: FakeUpstream, status: int
) -> None:
    empty = f'HTTP/1.1 {status} X\r\nETag: "1"\r\n\r\n'.encode()
    upstream.handler = lambda request, _: empty if request.target == "/empty" else response(body=b"next")
    with gateway.connect() as sock:
        reader = Reader(sock)
        for _ in range(3):
            sock.sendall(b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = reader.answer()
            assert (answer.status, answer.body, answer.header("ETag")) == (status, b"", '"1"')
            sock.sendall(b"GET /full HTTP/1.1\r\nHost: a\r\n\r\n")
            assert reader.answer().body == b"next"
    assert len({request.connection for request in upstream.requests}) == 1


def test_head_has_the_length_but_no_body_and_the_next_answer_is_right(
    gateway: GatewayHarness, upstream: FakeUpstream
) -> None:
    def handler(request: Request, _: Connection) -> bytes:
        whole = response(body=b"12345")
        return whole[:-5] if request.method == "HEAD" else whole

    upstream.handler = handler
    with gateway.connect() as sock:
        reader = Reader(sock)
        for _ in range(2):
            sock.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = reader.answer("HEAD")
            assert (answer.status, answer.header("Content-Length"), answer.body) == (200, "5", b"")
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert reader.answer().body == b"12345"


def test_chunked_request_arrives_whole_without_extensions_and_trailers(
    gateway: GatewayHarness, upstream: FakeUpstream
) -> None:
    answer = gateway.raw(
        b"POST /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Api-Key: trailer\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    request = upstream.requests[0]
    assert request.body == b"hello world"
    assert request.header("X-Api-Key") is None
    assert request.header("Transfer-Encoding") == "chunked"
    assert request.header("Content-Length") is None


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_chunked_answer(gateway: GatewayHarness, upstream: FakeUpstream, pause: float) -> None:
    def handler(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n")
        time.sleep(pause)
        connection.send(b"2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")

    upstream.handler = handler
    answer = gateway.request("GET", "/")
    assert (answer.body, answer.header("Transfer-Encoding"), answer.header("X-Trailer")) == (b"abcde", "chunked", None)


def test_answer_until_close_is_chunked_for_1_1_and_closed_for_1_0(
    gateway: GatewayHarness, upstream: FakeUpstream
) -> None:
    def handler(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        connection.close()

    upstream.handler = handler
    answer = gateway.request("GET", "/")
    assert (answer.body, answer.header("Transfer-Encoding")) == (b"until the end", "chunked")
    old = gateway.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert old.endswith(b"\r\n\r\nuntil the end")
    assert b"chunked" not in old.lower()


def test_http_1_0_keep_alive_is_said_and_kept(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    with gateway.connect() as sock:
        reader = Reader(sock)
        for _ in range(2):
            sock.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert reader.answer().header("Connection") == "keep-alive"
    assert upstream.requests[0].version == "HTTP/1.1"
    assert upstream.requests[0].header("Host")


def test_interim_answers_pass_through(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    upstream.handler = lambda *_: b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + response(body=b"x")
    answer = gateway.request("GET", "/")
    assert (answer.interim, answer.status, answer.body) == ([103], 200, b"x")


def test_expect_is_passed_on_and_100_comes_back(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    with gateway.connect() as sock:
        sock.sendall(b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"body")
        assert Reader(sock).answer().status == 200
    assert (upstream.requests[0].body, upstream.requests[0].header("Expect")) == (b"body", "100-continue")


def test_first_byte_of_a_body_goes_out_at_once(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    def handler(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        time.sleep(1.0)
        connection.send(b"cd")

    upstream.handler = handler
    with gateway.connect() as sock:
        began = time.monotonic()
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        while not received.endswith(b"ab"):
            received += sock.recv(4096)
        assert time.monotonic() - began < 0.5
        assert sock.recv(4096) == b"cd"


def test_request_body_is_streamed_while_it_comes(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    arrived: list[bytes] = []

    def expect(_: Request, connection: Connection) -> None:
        arrived.append(connection.receive())
        connection.buffer = arrived[0] + connection.buffer

    with (
        FakeUpstream(expect=expect) as early,
        GatewayHarness(
            {"upstreams": {"u": {"targets": [early.url]}}, "routes": [{"name": "r", "paths": ["/*"], "upstream": "u"}]}
        ) as other,
        other.connect() as sock,
    ):
        sock.sendall(b"POST /s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\nfirst")
        early.wait_for(lambda: bool(arrived))
        assert arrived[0] == b"first"
        sock.sendall(b"later")
        assert Reader(sock).answer().status == 200
        assert early.requests[0].body == b"firstlater"


def test_a_buffered_body_goes_on_whole_and_with_its_length(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    with gateway.connect() as sock:
        sock.sendall(b"POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 "), "the edge itself asks for the body"
        opened = upstream.connections
        for piece in (b"first", b"x" * 100_000):
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            time.sleep(0.1)
        assert upstream.requests == []
        assert upstream.connections == opened
        sock.sendall(b"0\r\n\r\n")
        assert Reader(sock).answer().status == 200
        request = upstream.requests[0]
        assert request.body == b"first" + b"x" * 100_000
        assert (request.header("Content-Length"), request.header("Transfer-Encoding")) == ("100005", None)
        assert request.header("Expect") is None
        sock.sendall(b"POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        time.sleep(0.1)
        sock.sendall(b"okGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        reader = Reader(sock)
        assert [reader.answer().status, reader.answer().status] == [200, 200]
    assert [each.target for each in upstream.requests] == ["/whole", "/whole", "/next"]


def test_a_buffered_body_over_the_limit_never_reaches_the_upstream(
    gateway: GatewayHarness, upstream: FakeUpstream
) -> None:
    piece = b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000)
    answer = gateway.request("POST", "/whole", {"Transfer-Encoding": "chunked"}, piece * 4 + b"0\r\n\r\n")
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
    assert upstream.requests == []


def test_large_bodies_both_ways(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    body = bytes(range(256)) * 32 * 1024  # 8 MiB
    upstream.handler = lambda request, _: response(body=request.body)
    assert gateway.request("POST", "/", body=body, timeout=30).body == body
    pieces = [body[at : at + 100_003] for at in range(0, len(body), 100_003)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    answer = gateway.request("POST", "/", {"Transfer-Encoding": "chunked"}, chunks, timeout=30)
    assert answer.body == body


def test_nagle_is_off(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    """A head and a body in two writes would meet delayed acknowledgements: steps of 40 ms."""

    def handler(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        time.sleep(0.002)
        connection.send(b"ab")

    upstream.handler = handler
    times = []
    with gateway.connect() as sock:
        reader = Reader(sock)
        for _ in range(20):
            began = time.monotonic()
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            reader.answer()
            times.append(time.monotonic() - began)
    assert sorted(times)[10] < 0.03


def websocket_head(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def switching(_: Request, connection: Connection) -> None:
    connection.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    while data := connection.sock.recv(65536):
        connection.send(data[::-1])


def test_websocket_is_tunnelled_byte_for_byte(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    upstream.handler = switching
    with gateway.connect() as sock:
        sock.sendall(websocket_head("/ws"))
        reader = Reader(sock)
        answer = reader.answer()
        assert (answer.status, answer.header("Upgrade")) == (101, "websocket")
        for data in (b"\x81\x05hello", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))):
            sock.sendall(data)
            assert sock.recv(65536) == data[::-1]
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    upstream.wait_for(lambda: upstream.accepted[-1].closed.is_set())


def test_a_silent_websocket_is_closed_on_both_sides_and_logged(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    """The route's idle timeout is two seconds; any byte starts it anew."""
    upstream.handler = switching
    with gateway.connect() as sock:
        sock.sendall(websocket_head("/ws-idle"))
        reader = Reader(sock)
        assert reader.answer().status == 101
        for _ in range(3):
            time.sleep(1.0)
            sock.sendall(b"ping")
            assert sock.recv(100) == b"gnip"
        began = time.monotonic()
        assert sock.recv(100) == b""
        assert 1.5 < time.monotonic() - began < 5
    upstream.wait_for(lambda: upstream.accepted[-1].closed.is_set())
    upstream.wait_for(lambda: any(line["path"] == "/ws-idle" for line in gateway.access_log()))
    line = next(line for line in gateway.access_log() if line["path"] == "/ws-idle")
    assert (line["status"], line["bytes_in"], line["code"]) == (101, 12, "")


def test_websocket_off_is_a_plain_get(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    with gateway.connect() as sock:
        sock.sendall(websocket_head("/no-websocket"))
        assert Reader(sock).answer().status == 200
    assert upstream.requests[0].header("Upgrade") is None
