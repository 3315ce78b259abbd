"""Processes that die: what takes their place, who notices, and what is not lost."""

from __future__ import annotations

import os
import re
import signal
import socket
from typing import Any

import pytest

from portico.testing import FakeUpstream, GatewayHarness, Reader, wait_for


def config(upstream: FakeUpstream, workers: int = 1) -> dict[str, Any]:
    return {
        "server": {"workers": workers, "listen": [{"host": "127.0.0.1", "port": 0, "metrics": True}]},
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users"}],
    }


def process(gateway: GatewayHarness, role: str, index: int = 0) -> dict[str, Any]:
    found = [each for each in gateway.status()["processes"] if (each["role"], each["index"]) == (role, index)]
    return dict(found[0])


def counted(gateway: GatewayHarness) -> int:
    port = int(gateway.status()["listeners"][1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = Reader(sock).answer().body.decode()
    found = re.search(r'portico_requests_total\{method="GET",route="users",status="2xx"\} (\S+)', text)
    return int(float(found[1])) if found else 0


def test_a_killed_edge_worker_is_replaced_and_it_is_said() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        first = process(gateway, "edge")
        os.kill(first["pid"], signal.SIGKILL)
        wait_for(
            lambda: process(gateway, "edge")["state"] == "ready" and process(gateway, "edge")["pid"] != first["pid"]
        )
        assert gateway.request("GET", "/users/1").status == 200
        assert process(gateway, "edge")["restarts"] == 1
        assert "edge 0 was killed by SIGKILL; it is started again" in gateway.output()
        assert gateway.status()["state"] == "ready"


def test_connections_that_wait_when_a_worker_is_killed_are_all_answered() -> None:
    """The listening socket and its queue belong to the supervisor: nobody sees a reset."""
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        pid = process(gateway, "edge")["pid"]
        os.kill(pid, signal.SIGSTOP)
        clients = [gateway.connect(20) for _ in range(100)]
        for number, sock in enumerate(clients):
            sock.sendall(b"GET /users/%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % number)
        os.kill(pid, signal.SIGKILL)
        paths = [Reader(sock).answer().json()["path"] for sock in clients]
        assert paths == [f"/users/{number}" for number in range(100)]
        for sock in clients:
            sock.close()


@pytest.mark.parametrize("victims", [1, 3])
def test_the_other_workers_serve_while_some_are_dead(victims: int) -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, workers=4)) as gateway:
        for index in range(victims):
            os.kill(process(gateway, "edge", index)["pid"], signal.SIGKILL)
            assert gateway.request("GET", "/users/1").status == 200
        wait_for(lambda: gateway.status()["state"] == "ready")


def test_what_was_counted_stays_counted_when_workers_are_killed() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, workers=2)) as gateway:
        for _ in range(20):
            gateway.request("GET", "/users/1")
        assert counted(gateway) == 20  # from here on the supervisor knows of them
        for index in (0, 1):
            os.kill(process(gateway, "edge", index)["pid"], signal.SIGKILL)
            wait_for(lambda: gateway.status()["state"] == "ready")
            assert counted(gateway) == 20
        gateway.request("GET", "/users/1")
        assert counted(gateway) == 21


def test_without_the_services_routes_still_flow_and_our_own_paths_are_503_until_they_are_back() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        pid = process(gateway, "services")["pid"]
        os.kill(pid, signal.SIGSTOP)  # so that its place is not filled before we have looked
        os.kill(pid, signal.SIGKILL)
        assert gateway.request("GET", "/users/1").status == 200
        answer = gateway.request("GET", "/api/v1/public/status")
        assert answer.status in (503, 200)  # 200: it was quicker than we
        wait_for(lambda: gateway.request("GET", "/api/v1/public/status").status == 200, 10)
        assert process(gateway, "services")["restarts"] == 1
        assert "services 0 was killed by SIGKILL; it is started again" in gateway.output()


def test_services_that_hang_are_shown_and_routes_still_flow() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        pid = process(gateway, "services")["pid"]
        os.kill(pid, signal.SIGSTOP)
        assert gateway.request("GET", "/users/1").status == 200
        assert gateway.request("GET", "/health/live").status == 200
        os.kill(pid, signal.SIGCONT)


def test_services_that_cannot_stay_up_are_tried_ever_more_slowly_and_health_tells() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        for restarts in range(1, 4):
            os.kill(process(gateway, "services")["pid"], signal.SIGKILL)
            wait_for(lambda: process(gateway, "services")["restarts"] == restarts)  # noqa: B023
            assert gateway.request("GET", "/health/ready").status == 503
            wait_for(lambda: process(gateway, "services")["state"] == "ready", 10)
        assert gateway.request("GET", "/health/ready").status == 200
        waits = [float(each) for each in re.findall(r'"after_seconds": ([0-9.]+)', gateway.output())]
        assert waits == [0.1, 0.2, 0.4]


def test_a_worker_told_to_end_by_somebody_else_is_replaced() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        first = process(gateway, "edge")["pid"]
        os.kill(first, signal.SIGTERM)
        wait_for(lambda: process(gateway, "edge")["pid"] not in (0, first))
        wait_for(lambda: gateway.status()["state"] == "ready")
        assert gateway.request("GET", "/users/1").status == 200
