"""TLS with several workers: all take part, all get new certificates, and changes of processes lose nothing."""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Answer, Reader
from portico.testing.upstream import Connection, Request, response, wait_for

from .pki import METRICS, Authority, Pair, connect, count, files, install, shown

WEBSOCKET = (
    b"GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def config(pair: Pair, upstream: FakeUpstream, workers: int, **server: Any) -> dict[str, Any]:
    return {
        "server": {"tls": files(pair), "workers": workers, "listen": METRICS, **server},
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [{"name": "all", "paths": ["/*"], "upstream": "up"}],
    }


def get(sock: ssl.SSLSocket, path: str = "/x") -> Answer:
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
    return Reader(sock).answer()


def held(gateway: GatewayHarness) -> list[int]:
    """The connections of each edge worker."""
    return [each["connections"] for each in gateway.status()["processes"] if each["role"] == "edge"]


def storm(gateway: GatewayHarness, authority: Authority, connections: int, stack: ExitStack) -> list[ssl.SSLSocket]:
    """So many handshakes at once; each connection is answered, and open until the stack is closed."""

    def one(_: int) -> ssl.SSLSocket:
        sock = connect(gateway, authority.client())
        assert get(sock).status == 200
        return sock

    with ThreadPoolExecutor(connections) as pool:
        made = list(pool.map(one, range(connections)))
    for sock in made:
        stack.enter_context(sock)
    return made


def test_a_storm_of_handshakes_is_shared_by_all_workers(
    mode: bool, upstream: FakeUpstream, authority: Authority, pair: Pair
) -> None:
    with GatewayHarness(config(pair, upstream, 3), compiled=mode) as gateway, ExitStack() as stack:
        storm(gateway, authority, 90, stack)
        shares = held(gateway)
        assert sum(shares) == 90
        assert min(shares) >= 10, "a fair share would be 30"
        assert count(gateway, "portico_tls_handshake_failed") == 0


def test_new_certificates_reach_every_worker(
    mode: bool, upstream: FakeUpstream, authority: Authority, tmp_path: Path
) -> None:
    used = (tmp_path / "cert.pem", tmp_path / "key.pem")
    install(authority.issue("first", "DNS:a.example"), used)
    with GatewayHarness(config(used, upstream, 3), compiled=mode) as gateway, ExitStack() as stack:
        old = storm(gateway, authority, 12, stack)
        assert {shown(sock) for sock in old} == {"first"}
        install(authority.issue("second", "DNS:a.example"), used)
        gateway.reload()
        before = held(gateway)
        new = storm(gateway, authority, 30, stack)
        assert {shown(sock) for sock in new} == {"second"}
        assert all(now > then for then, now in zip(before, held(gateway), strict=True)), "each worker made some"
        assert {get(sock).status for sock in old} == {200}, "connections outlive the certificate they began with"


class Handler:
    """`/held` is answered when it is let go; a WebSocket says everything back in capitals."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go = threading.Event()

    def __call__(self, request: Request, connection: Connection) -> bytes | None:
        if request.header("Upgrade"):
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.sock.recv(65536):
                connection.send(data.upper())
            return None
        if request.target == "/held":
            self.arrived.set()
            assert self.go.wait(20)
        return response(200, b"here")


def said_back(sock: ssl.SSLSocket, text: bytes) -> bytes:
    """What a WebSocket's other end answers."""
    sock.sendall(text)
    received = b""
    while len(received) < len(text):
        received += sock.recv(65536)
    return received


def opened(gateway: GatewayHarness, authority: Authority, stack: ExitStack) -> ssl.SSLSocket:
    """A connection whose unclean end (no close_notify) is an error."""
    sock = stack.enter_context(connect(gateway, authority.client()))
    sock.suppress_ragged_eofs = False
    return sock


@pytest.mark.parametrize("command", ["restart", "down"])
def test_tls_and_websockets_when_processes_end(mode: bool, authority: Authority, pair: Pair, command: str) -> None:
    """What can end does; a WebSocket lives as long as `limits.drain` allows, and both its sides see a clean end."""
    handler = Handler()
    with (
        FakeUpstream(handler) as upstream,
        GatewayHarness(config(pair, upstream, 1, limits={"drain": "3s"}), compiled=mode) as gateway,
        ExitStack() as stack,
    ):
        idle, asking, chat = (opened(gateway, authority, stack) for _ in range(3))
        assert get(idle).status == 200
        chat.sendall(WEBSOCKET)
        assert Reader(chat).answer().status == 101
        asking.sendall(b"GET /held HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert handler.arrived.wait(5)
        ended: list[int] = []
        ending = threading.Thread(target=lambda: ended.append(gateway.cli(command).returncode), daemon=True)
        ending.start()
        assert idle.recv(1) == b"", "an idle connection is ended, and politely"
        handler.go.set()
        answer = Reader(asking).answer()
        assert (answer.status, answer.body, answer.header("Connection")) == (200, b"here", "close")
        assert asking.recv(1) == b""
        assert said_back(chat, b"x" * 100_000) == b"X" * 100_000, "it goes on for a while"
        assert chat.recv(1) == b"", "and is ended politely"
        ending.join(20)
        assert ended == [0]
        wait_for(lambda: upstream.open_connections == 0)
        if command == "restart":
            with connect(gateway, authority.client()) as sock:
                assert get(sock).status == 200
