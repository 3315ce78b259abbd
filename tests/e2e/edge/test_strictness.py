"""Requests outside the grammar: refused, the connection closed, and nothing of them reaches an upstream."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Reader

PROBE = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


BAD = {
    "no host": (400, head(b"GET / HTTP/1.1")),
    "two hosts": (400, head(b"GET / HTTP/1.1", b"Host: a", b"Host: a")),
    "empty line before, twice": (400, b"\r\n\r\n" + head(b"GET / HTTP/1.1", b"Host: a")),
    "http/0.9": (400, b"GET /\r\n\r\n"),
    "http/1.2": (505, head(b"GET / HTTP/1.2", b"Host: a")),
    "http/2.0": (505, head(b"GET / HTTP/2.0", b"Host: a")),
    "rtsp": (400, head(b"GET / RTSP/1.0", b"Host: a")),
    "lower-case version": (400, head(b"GET / http/1.1", b"Host: a")),
    "two spaces": (400, head(b"GET  / HTTP/1.1", b"Host: a")),
    "tab in the request line": (400, head(b"GET\t/ HTTP/1.1", b"Host: a")),
    "method with a slash": (400, head(b"GE/T / HTTP/1.1", b"Host: a")),
    "long method": (400, head(b"A" * 33 + b" / HTTP/1.1", b"Host: a")),
    "connect": (501, head(b"CONNECT a:443 HTTP/1.1", b"Host: a")),
    "bare lf": (400, b"GET / HTTP/1.1\nHost: a\n\r\n\r\n"),
    "bare lf in a field": (400, head(b"GET / HTTP/1.1", b"Host: a", b"X: a\nY: b")),
    "bare cr in a field": (400, head(b"GET / HTTP/1.1", b"Host: a", b"X: a\rY: b")),
    "nul": (400, head(b"GET / HTTP/1.1", b"Host: a", b"X: a\x00b")),
    "obs-fold": (400, head(b"GET / HTTP/1.1", b"Host: a", b"X: a", b" b")),
    "space before the colon": (400, head(b"GET / HTTP/1.1", b"Host: a", b"X : a")),
    "empty name": (400, head(b"GET / HTTP/1.1", b"Host: a", b": a")),
    "no colon": (400, head(b"GET / HTTP/1.1", b"Host: a", b"nothing")),
    "name with a quote": (400, head(b"GET / HTTP/1.1", b"Host: a", b'"X": a')),
    "length twice": (400, head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 2", b"Content-Length: 2") + b"ab"),
    "length list": (400, head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 2, 2") + b"ab"),
    "length with a sign": (400, head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: +2") + b"ab"),
    "length in hex": (400, head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 0x2") + b"ab"),
    "length negative": (400, head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: -1")),
    "length and chunked": (
        400,
        head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5", b"Transfer-Encoding: chunked")
        + b"0\r\n\r\n"
        + PROBE,
    ),
    "chunked in 1.0": (400, head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + PROBE),
    "gzip, chunked": (501, head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    "chunked twice": (
        400,
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")
        + b"0\r\n\r\n",
    ),
    "xchunked": (501, head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: xchunked") + b"0\r\n\r\n"),
    "bad chunk size": (
        400,
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked") + b"zz\r\n\r\n" + PROBE,
    ),
    "huge chunk size": (
        400,
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\n" + PROBE,
    ),
    "chunk longer than said": (
        400,
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked") + b"1\r\nabc\r\n0\r\n\r\n" + PROBE,
    ),
    "chunk line by lf": (
        400,
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked") + b"1\na\n0\n\n" + PROBE,
    ),
    "endless chunk extension": (
        400,
        head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked") + b"1;" + b"x" * 9000,
    ),
    "absolute target of another host": (400, head(b"GET http://b/ HTTP/1.1", b"Host: a")),
    "authority with user": (400, head(b"GET http://u@a/ HTTP/1.1", b"Host: a")),
    "other scheme": (400, head(b"GET ftp://a/ HTTP/1.1", b"Host: a")),
    "host with a space": (400, head(b"GET / HTTP/1.1", b"Host: a b")),
    "host with a slash": (400, head(b"GET / HTTP/1.1", b"Host: a/b")),
    "fragment": (400, head(b"GET /a#b HTTP/1.1", b"Host: a")),
    "bad percent": (400, head(b"GET /%zz HTTP/1.1", b"Host: a")),
    "control in the path": (400, head(b"GET /%00 HTTP/1.1", b"Host: a")),
    "raw utf-8 in the target": (400, head("GET /ä HTTP/1.1".encode(), b"Host: a")),
    "star with get": (400, head(b"GET * HTTP/1.1", b"Host: a")),
    "long target": (414, head(b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"Host: a")),
    "endless request line": (414, b"GET /" + b"a" * 40_000),
    "large head": (431, head(b"GET / HTTP/1.1", b"Host: a", b"X: " + b"a" * 40_000)),
    "too many fields": (431, head(b"GET / HTTP/1.1", b"Host: a", *[b"X: 1"] * 200)),
    "odd expectation": (417, head(b"POST / HTTP/1.1", b"Host: a", b"Expect: 200-maybe", b"Content-Length: 1") + b"a"),
    "two keys": (400, head(b"GET / HTTP/1.1", b"Host: a", b"X-API-Key: a", b"X-API-Key: b")),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_and_closed_and_nothing_goes_upstream(
    gateway: GatewayHarness, upstream: FakeUpstream, name: str
) -> None:
    status, data = BAD[name]
    with gateway.connect() as sock:
        sock.sendall(data)
        answer = Reader(sock).answer()
        assert answer.status == status, answer.body
        body = answer.json()
        assert answer.header("Content-Type") == "application/problem+json"
        assert (body["status"], body["request_id"]) == (status, answer.header("X-Request-Id"))
        assert body["code"]
        assert body["hint"]
        assert answer.header("Connection") == "close"
        sock.settimeout(3)
        with contextlib.suppress(ConnectionResetError):  # also an end
            assert sock.recv(100) == b"", "the connection goes on after a request that could not be read"
    assert upstream.requests == []


def begun(sock: socket.socket, target: bytes) -> None:
    """Send the head of a chunked request; return when the upstream has it, and asks for the body."""
    fields = (b"Host: a", b"Transfer-Encoding: chunked", b"Expect: 100-continue")
    sock.sendall(head(b"POST %b HTTP/1.1" % target, *fields))
    assert sock.recv(100).startswith(b"HTTP/1.1 100 ")


def test_a_bad_chunk_later_ends_the_upstream_request_incomplete(
    gateway: GatewayHarness, upstream: FakeUpstream
) -> None:
    with gateway.connect() as sock:
        begun(sock, b"/late")
        sock.sendall(b"3\r\nabc\r\n")
        sock.sendall(b"oops\r\n" + PROBE)
        assert Reader(sock).answer().status == 400
    upstream.wait_for(lambda: upstream.accepted[-1].closed.is_set())
    assert upstream.requests == []


def test_one_byte_at_a_time_is_read_like_one_piece(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    data = head(b"POST /slow HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n" + PROBE
    with gateway.connect() as sock:
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
        reader = Reader(sock)
        assert json.loads(reader.answer().body)["body"] == "abc"
        assert reader.answer().status == 200
    assert [request.target for request in upstream.requests] == ["/slow", "/smuggled"]


def test_an_answer_to_a_large_unread_body_arrives(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    """The body is refused by its length; the client is still sending it and must read the answer, not a reset."""
    size = 3 * 1024 * 1024
    for _ in range(5):
        with gateway.connect() as sock:
            sock.sendall(head(b"POST /small HTTP/1.1", b"Host: a", b"Content-Length: %d" % size))
            sock.sendall(b"z" * (size // 2))
            answer = Reader(sock).answer()
            assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
    assert upstream.requests == []


def test_a_chunked_body_over_the_limit_is_413_and_never_complete_upstream(
    gateway: GatewayHarness, upstream: FakeUpstream
) -> None:
    with gateway.connect() as sock:
        begun(sock, b"/small")
        sock.sendall(b"200\r\n" + b"a" * 512 + b"\r\n")
        sock.sendall(b"400\r\n" + b"a" * 1024 + b"\r\n0\r\n\r\n")
        assert Reader(sock).answer().status == 413
    upstream.wait_for(lambda: upstream.accepted[-1].closed.is_set())
    assert upstream.requests == []
