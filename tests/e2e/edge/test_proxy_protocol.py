"""The PROXY protocol before HTTP and before TLS, over real sockets."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Reader, read_all, request_bytes
from portico.testing.upstream import wait_for

from .pki import Authority

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 1024 443\r\n"
BINARY = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x21" + struct.pack(">H", 36 + 7) + socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2
    + struct.pack(">HH", 1024, 443) + b"\x04\x00\x04\x00\x00\x00\x00"
)  # fmt: skip
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
REQUEST = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n"


def config(upstream: FakeUpstream, authority: Authority, **server: Any) -> dict[str, Any]:
    cert, key = authority.issue("a", "DNS:a.example")
    tls = {"cert": str(cert), "key": str(key)}
    return {
        "server": {
            "proxy_protocol": True,
            "listen": [
                {"host": "127.0.0.1", "port": 0, "name": "tls", "tls": tls},
                {"host": "127.0.0.1", "port": 0, "name": "metrics", "metrics": True},
            ],
            "limits": {"header_timeout": "700ms"},
            **server,
        },
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [{"name": "all", "paths": ["/*"], "upstream": "up"}],
    }


@pytest.fixture(scope="module")
def gateway(mode: bool, shared_upstream: FakeUpstream, authority: Authority) -> Iterator[GatewayHarness]:
    with GatewayHarness(config(shared_upstream, authority), compiled=mode) as gateway:
        yield gateway


def port(gateway: GatewayHarness, listener: int) -> int:
    return int(gateway.status()["listeners"][listener].rpartition(":")[2])


def refused(gateway: GatewayHarness) -> float:
    with socket.create_connection(("127.0.0.1", port(gateway, 2)), 5) as sock:
        sock.sendall(LOCAL + request_bytes("GET", "/metrics", "x"))
        text = Reader(sock).answer().body.decode()
    return next(
        float(line.split()[1]) for line in text.splitlines() if line.startswith("portico_proxy_header_invalid_")
    )


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (LINE, "192.0.2.7"),
        (BINARY, "2001:db8::7"),
        (LOCAL, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ],
)
def test_the_client_is_the_one_that_is_told(
    gateway: GatewayHarness, upstream: FakeUpstream, header: bytes, client: str
) -> None:
    with gateway.connect() as sock:
        sock.sendall(header + REQUEST)
        reader = Reader(sock)
        assert reader.answer().status == 200
        sock.sendall(REQUEST)
        assert reader.answer().status == 200
    assert [seen.header("X-Forwarded-For") for seen in upstream.requests] == [client] * 2
    wait_for(lambda: gateway.access_log()[-1]["client"] == client)


@pytest.mark.parametrize("header", [LINE, BINARY])
def test_in_small_pieces(gateway: GatewayHarness, upstream: FakeUpstream, header: bytes) -> None:
    with gateway.connect() as sock:
        for at in range(0, len(header), 9):
            sock.sendall(header[at : at + 9])
            time.sleep(0.01)
        sock.sendall(REQUEST)
        assert Reader(sock).answer().status == 200
    assert upstream.requests[0].header("X-Forwarded-For") in ("192.0.2.7", "2001:db8::7")


@pytest.mark.parametrize("header", [LINE, BINARY])
def test_before_tls_in_one_segment(
    gateway: GatewayHarness, upstream: FakeUpstream, authority: Authority, header: bytes
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client().wrap_bio(incoming, outgoing, server_hostname="a.example")
    with socket.create_connection(("127.0.0.1", port(gateway, 1)), 5) as sock:
        first = header
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(first + outgoing.read())
                first = b""
                incoming.write(sock.recv(65536))
        client.write(REQUEST)
        sock.sendall(outgoing.read())
        wait_for(lambda: len(upstream.requests) == 1)
    assert upstream.requests[0].header("X-Forwarded-For") in ("192.0.2.7", "2001:db8::7")
    assert upstream.requests[0].header("X-Forwarded-Proto") == "https"


@pytest.mark.parametrize(
    "beginning", [REQUEST, b"\x16\x03\x01\x02\x00\x01", LINE[:-20] + b"\r\n", b"PROXY TCP4 " + b"1" * 500]
)
@pytest.mark.parametrize("listener", [0, 1])
def test_without_a_header_it_is_closed(
    gateway: GatewayHarness, upstream: FakeUpstream, beginning: bytes, listener: int
) -> None:
    before = refused(gateway)
    with socket.create_connection(("127.0.0.1", port(gateway, listener)), 5) as sock:
        sock.sendall(beginning)
        assert read_all(sock, 3.0) == b""
    wait_for(lambda: refused(gateway) == before + 1)
    assert not upstream.requests
    assert "Traceback" not in gateway.output()


def test_silence_ends_and_blocks_nobody(gateway: GatewayHarness) -> None:
    before = refused(gateway)
    silent = [gateway.connect() for _ in range(20)]
    for index, sock in enumerate(silent):
        sock.sendall(LINE[:index])
    with gateway.connect() as sock:
        sock.sendall(LINE + REQUEST)
        assert Reader(sock).answer().status == 200
    for sock in silent:
        with sock:
            assert sock.recv(1) == b""
    wait_for(lambda: refused(gateway) == before + 20)


def test_only_from_trusted_proxies(mode: bool, shared_upstream: FakeUpstream, authority: Authority) -> None:
    for network, status in (("127.0.0.0/8", 200), ("192.0.2.0/24", 0)):
        settings = config(shared_upstream, authority, trusted_proxies=[network])
        with GatewayHarness(settings, compiled=mode) as gateway, gateway.connect() as sock:
            sock.sendall(LINE + b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
            if not status:
                assert read_all(sock, 3.0) == b""
                continue
            assert Reader(sock).answer().status == status
            # The client that the proxy tells of is no proxy: what it says of others is not believed.
            assert shared_upstream.requests[-1].header("X-Forwarded-For") == "192.0.2.7"
