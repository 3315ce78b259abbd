"""Stopping under load: whatever was accepted is answered, and nobody is reset."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any

from tests.chaos.load import Load

from portico.testing import Connection, FakeUpstream, GatewayHarness, Reader, Request, response, wait_for
from portico.testing.client import read_all

KEPT = b"GET /users/1 HTTP/1.1\r\nHost: x\r\n\r\n"


def config(upstream: FakeUpstream, **server: Any) -> dict[str, Any]:
    return {
        "server": server,
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users"}],
    }


def pids(gateway: GatewayHarness, role: str) -> list[int]:
    return [each["pid"] for each in gateway.status()["processes"] if each["role"] == role]


def test_down_under_load_answers_every_request_that_was_accepted() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, workers=2)) as gateway:
        ours = Load(gateway, "/api/v1/public/status", kept=2, fresh=2)
        with Load(gateway, kept=6, fresh=6, method="POST") as load, ours:
            load.more(200)
            assert gateway.cli("down").returncode == 0
        failed = [each for each in load.failed() + ours.failed() if not each.error.startswith("refused")]
        assert failed == [], gateway.output()
        assert [each for each in load.failed() if each.error.startswith("refused")], "the load went on until the end"


def test_what_waits_in_the_accept_queue_is_answered() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        (edge,) = pids(gateway, "edge")
        os.kill(edge, signal.SIGSTOP)
        clients = [gateway.connect(20) for _ in range(200)]
        for sock in clients:
            sock.sendall(KEPT)
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: gateway.status()["state"] == "draining")
        os.kill(edge, signal.SIGCONT)
        answers = [Reader(sock).answer() for sock in clients]
        assert [answer.status for answer in answers] == [200] * 200
        assert {answer.header("Connection") for answer in answers} == {"close"}
        assert gateway.process is not None
        assert gateway.process.wait(10) == 0


def test_connections_to_a_unix_socket_that_wait_are_answered() -> None:
    with FakeUpstream() as upstream, GatewayHarness(wait=False) as gateway:
        gateway.stop()
        path = gateway.directory / "p.sock"
        gateway.rewrite(config(upstream, listen=[{"unix": str(path)}]))
        gateway.start()
        gateway.wait_ready()
        (edge,) = pids(gateway, "edge")
        os.kill(edge, signal.SIGSTOP)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(50)]
        for sock in clients:
            sock.settimeout(10)
            sock.connect(str(path))
            sock.sendall(KEPT)
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: not path.exists())
        os.kill(edge, signal.SIGCONT)
        assert [Reader(sock).answer().status for sock in clients] == [200] * 50


def test_an_idle_connection_is_ended_without_a_reset_and_may_ask_once_more() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        silent, asking = gateway.connect(), gateway.connect()
        for sock in (silent, asking):
            sock.sendall(KEPT)
            assert Reader(sock).answer().header("Connection") is None
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: gateway.status()["state"] == "draining")
        asking.sendall(KEPT)
        answer = Reader(asking).answer()
        assert (answer.status, answer.header("Connection")) == (200, "close")
        assert asking.recv(1) == b""
        assert silent.recv(1) == b""
        silent.sendall(KEPT)  # crosses our end on its way: thrown away, and no reset
        assert silent.recv(1) == b""
        assert gateway.process is not None
        assert gateway.process.wait(10) == 0


def test_an_answer_under_way_is_finished_and_the_next_one_says_close() -> None:
    go = threading.Event()

    def slow(request: Request, connection: Connection) -> bytes | None:
        if request.target != "/users/slow":
            return response(200, b"quick")
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert go.wait(10)
        connection.send(b"later")
        return None

    with FakeUpstream(slow) as upstream, GatewayHarness(config(upstream)) as gateway, gateway.connect() as sock:
        sock.sendall(b"GET /users/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"first"):
            received += sock.recv(1000)
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: gateway.status()["state"] == "draining")
        go.set()
        while not received.endswith(b"later"):
            received += sock.recv(1000)
        assert b"Connection: close" not in received, "its head was out before"
        sock.sendall(KEPT)
        rest = read_all(sock, 5)
        assert b"Connection: close" in rest
        assert rest.endswith(b"quick")


def test_down_takes_no_longer_than_what_is_under_way() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 4
