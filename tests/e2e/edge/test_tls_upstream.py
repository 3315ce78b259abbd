"""TLS towards upstreams, over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import IncompleteAnswer, Reader
from portico.testing.upstream import Connection, Request, response, wait_for

from .pki import METRICS, Authority, Pair, count, files, server_context


def outward(target: str, tls: dict[str, Any]) -> dict[str, Any]:
    return {
        "server": {"listen": METRICS},
        "upstreams": {"up": {"targets": [target], "tls": tls, "timeouts": {"connect": "1s", "idle": "5s"}}},
        "routes": [{"name": "all", "paths": ["/*"], "upstream": "up"}],
    }


Lead = Callable[[str, dict[str, Any]], GatewayHarness]


@pytest.fixture(scope="module")
def started(mode: bool) -> Iterator[GatewayHarness]:
    """The gateway that `lead` leads elsewhere."""
    with GatewayHarness(outward("https://127.0.0.1:9", {}), compiled=mode) as gateway:
        yield gateway


@pytest.fixture
def lead(started: GatewayHarness) -> Lead:
    """Gives the module's gateway, led to this target by these settings of TLS."""

    def reloaded(target: str, tls: dict[str, Any]) -> GatewayHarness:
        started.rewrite(outward(target, tls))
        started.reload()
        return started

    return reloaded


def test_https_to_an_upstream(lead: Lead, authority: Authority, pair: Pair) -> None:
    asked: list[str | None] = []
    context = server_context(pair)
    context.sni_callback = lambda tls, name, _: asked.append(name)
    with FakeUpstream(tls=context) as upstream:
        gateway = lead(upstream.url, {"ca": str(authority.cert)})
        assert [gateway.request("GET", "/").status for _ in range(3)] == [200] * 3
        body = b"x" * 1_000_000
        assert gateway.request("POST", "/", body=body).json()["body"] == body.decode()
        assert upstream.connections == 1
        assert asked == [None]  # addresses are no names (RFC 6066 3)
        lead(upstream.url, {"ca": str(authority.cert), "server_name": "a.example"})
        assert gateway.request("GET", "/").status == 200
        assert asked[-1] == "a.example"


@pytest.mark.parametrize(
    ("tls", "detail"),
    [
        ({}, "unable to get local issuer certificate"),
        ({"ca": "stranger"}, "unable to get local issuer certificate"),
        (
            {"ca": "authority", "server_name": "b.example"},
            "Hostname mismatch, certificate is not valid for 'b.example'",
        ),
        ({"ca": "authority", "server_name": "old.example"}, "certificate has expired"),
        ({"verify": False}, ""),
    ],
    ids=["system roots", "other roots", "another name", "expired", "not verified"],
)
def test_a_wrong_certificate(
    lead: Lead, authority: Authority, stranger: Authority, pair: Pair, tls: dict[str, Any], detail: str
) -> None:
    known = {"authority": str(authority.cert), "stranger": str(stranger.cert)}
    tls = {key: known.get(value, value) if key == "ca" else value for key, value in tls.items()}
    if detail == "certificate has expired":
        pair = authority.issue("old", "DNS:old.example", days=-1)
    with FakeUpstream(tls=server_context(pair)) as upstream:
        gateway = lead(upstream.url, tls)
        before = refused(gateway)
        answer = gateway.request("GET", "/")
        if not detail:
            assert answer.status == 200
            assert "upstreams.up.tls.verify: false believes every certificate" in gateway.output()
            return
        assert (answer.status, answer.json()["code"]) == (502, "upstream_certificate")
        assert answer.json()["detail"] == f"the upstream's certificate was refused: {detail}"
        assert not upstream.requests
        wait_for(lambda: refused(gateway) == before + 1)


def refused(gateway: GatewayHarness) -> int:
    """How many requests the access log tells of that ended with an upstream's certificate."""
    return [line["code"] for line in gateway.access_log(0)].count("upstream_certificate")


def test_a_certificate_of_our_own(lead: Lead, authority: Authority, stranger: Authority, pair: Pair) -> None:
    with FakeUpstream(tls=server_context(pair, authority.cert)) as upstream:
        ours = {"ca": str(authority.cert), **files(authority.issue("gateway", "DNS:gateway.example"))}
        assert lead(upstream.url, ours).request("GET", "/").status == 200
        for wrong in ({}, files(stranger.issue("other", "DNS:gateway.example"))):
            answer = lead(upstream.url, {"ca": str(authority.cert), **wrong}).request("GET", "/")
            assert (answer.status, answer.json()["code"]) == (502, "upstream_tls")
            assert "ended TLS" in answer.json()["detail"]


def test_an_upstream_without_tls(lead: Lead, authority: Authority) -> None:
    seen: list[bytes] = []

    def plain(listener: socket.socket) -> None:
        while True:  # it may be tried again
            try:
                sock, _ = listener.accept()
            except OSError:
                return  # the test is over
            with sock:
                seen.append(sock.recv(4096))
                sock.sendall(response(400, b"", reason="Bad Request"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=plain, args=[listener], daemon=True).start()
        target = f"https://127.0.0.1:{listener.getsockname()[1]}"
        answer = lead(target, {"ca": str(authority.cert)}).request("GET", "/secret")
        assert (answer.status, answer.json()["code"]) == (502, "upstream_tls")
        assert answer.json()["detail"] == "the TLS handshake with the upstream failed: wrong version number"
        assert not any(b"secret" in each for each in seen)
        listener.shutdown(socket.SHUT_RDWR)


def test_an_upstream_that_never_shakes_hands(lead: Lead, authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"https://127.0.0.1:{silent.getsockname()[1]}"
        answer = lead(target, {"ca": str(authority.cert)}).request("GET", "/")
        assert (answer.status, answer.json()["code"]) == (504, "upstream_timeout")


def until_close(body: bytes, notify: bool) -> Callable[[Request, Connection], None]:
    def handler(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        assert isinstance(connection.sock, ssl.SSLSocket)
        if notify:
            connection.sock.settimeout(5)
            connection.sock.unwrap()
        connection.close()

    return handler


@pytest.mark.parametrize("notify", [True, False])
@pytest.mark.parametrize("slow", [True, False])
def test_the_end_of_a_body_until_close(lead: Lead, authority: Authority, pair: Pair, notify: bool, slow: bool) -> None:
    body = b"0123456789abcdef" * 200_000
    with (
        FakeUpstream(until_close(body, notify), tls=server_context(pair)) as upstream,
        (gateway := lead(upstream.url, {"ca": str(authority.cert)})).connect() as sock,
    ):
        before = count(gateway, "portico_upstream_truncated")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        if slow:
            time.sleep(0.5)  # until all who are in between have stopped reading
        if notify:
            assert Reader(sock).answer().body == body
            return
        with pytest.raises((IncompleteAnswer, ConnectionResetError)):
            Reader(sock).answer()
        wait_for(lambda: count(gateway, "portico_upstream_truncated") == before + 1)


def test_a_counted_body_survives_a_cut_end(lead: Lead, authority: Authority, pair: Pair) -> None:
    body = b"0123456789abcdef" * 200_000

    def handler(_: Request, connection: Connection) -> None:
        connection.send(response(200, body, [("Connection", "close")]))
        connection.close()

    with (
        FakeUpstream(handler, tls=server_context(pair)) as upstream,
        lead(upstream.url, {"ca": str(authority.cert)}).connect() as sock,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.5)
        assert Reader(sock).answer().body == body


def upgraded(_: Request, connection: Connection) -> None:
    """Switch to WebSocket, and answer each piece in capitals until the client leaves."""
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    while data := connection.sock.recv(65536):
        connection.send(data.upper())


def test_a_websocket_over_tls_on_both_sides(mode: bool, authority: Authority, pair: Pair) -> None:
    with FakeUpstream(upgraded, tls=server_context(pair)) as upstream:
        settings = outward(upstream.url, {"ca": str(authority.cert)})
        settings["server"]["tls"] = files(pair)
        with GatewayHarness(settings, compiled=mode) as gateway:
            with authority.client().wrap_socket(gateway.connect(), server_hostname="a.example") as sock:
                sock.sendall(
                    b"GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
                reader = Reader(sock)
                assert reader.answer().status == 101
                for text in (b"hello", b"x" * 200_000):
                    sock.sendall(text)
                    while len(reader.buffer) < len(text):
                        reader.buffer += sock.recv(65536)
                    assert reader.buffer == text.upper()
                    reader.buffer = b""
            upstream.wait_for(lambda: upstream.open_connections == 0)


def test_who_does_not_read_costs_no_memory(mode: bool, authority: Authority, pair: Pair) -> None:
    size = 64 * 1024 * 1024
    sent: list[int] = []

    def handler(request: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            connection.send(b"x" * 65536)
            sent.append(65536)

    with FakeUpstream(handler, tls=server_context(pair)) as upstream:
        settings = outward(upstream.url, {"ca": str(authority.cert)})
        settings["server"]["tls"] = files(pair)
        with GatewayHarness(settings, compiled=mode) as gateway:
            before = edge_memory(gateway)
            with authority.client().wrap_socket(gateway.connect(), server_hostname="a.example") as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
                seen = -1
                while seen != len(sent):  # until everything in between is full
                    seen = len(sent)
                    time.sleep(0.3)
                assert 0 < sum(sent) < size
                assert edge_memory(gateway) - before < 8 * 1024 * 1024
                received = 0
                while received < size:  # the head comes on top of it
                    piece = sock.recv(262_144)
                    assert piece, "the answer broke off"
                    received += len(piece)
            assert edge_memory(gateway) - before < 8 * 1024 * 1024


def edge_memory(gateway: GatewayHarness) -> int:
    """Resident bytes of the edge process."""
    pid = next(process["pid"] for process in gateway.status()["processes"] if process["role"] == "edge")
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
