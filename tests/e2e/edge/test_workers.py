"""Several edge workers on one listening socket."""

from __future__ import annotations

import hashlib
import os
import signal
from collections import Counter
from contextlib import ExitStack

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Reader
from portico.testing.upstream import wait_for

KEY = "pk_reads_metrics_0123456789"


def key() -> dict[str, object]:
    return {"id": "m", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "permissions": ["metrics:read"]}


def config(upstream: FakeUpstream, workers: int) -> dict[str, object]:
    return {
        "server": {"workers": workers},
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [{"name": "all", "paths": ["/*"], "upstream": "up"}],
    }


def edge_pids(gateway: GatewayHarness) -> list[int]:
    return [each["pid"] for each in gateway.status()["processes"] if each["role"] == "edge"]


def test_64_connections_on_four_workers_none_holds_over_half(mode: bool, upstream: FakeUpstream) -> None:
    with GatewayHarness(config(upstream, 4), compiled=mode) as gateway, ExitStack() as stack:
        socks = [stack.enter_context(gateway.connect()) for _ in range(64)]
        for sock in socks:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [Reader(sock).answer().status for sock in socks] == [200] * 64
        held = [each["connections"] for each in gateway.status()["processes"] if each["role"] == "edge"]
        assert len(held) == 4
        assert sum(held) == 64
        assert max(held) <= 32


def test_metrics_are_the_sum_of_all_workers(mode: bool, upstream: FakeUpstream) -> None:
    with GatewayHarness(config(upstream, 3) | {"keys": [key()]}, compiled=mode) as gateway:
        for _ in range(60):
            assert gateway.request("GET", "/counted").status == 200
        served = [each["requests"] for each in gateway.status()["processes"] if each["role"] == "edge"]
        assert sum(count > 0 for count in served) >= 2, "one worker alone proves nothing"
        text = gateway.request("GET", "/metrics", {"X-API-Key": KEY}).body.decode()
        assert 'portico_requests_total{method="GET",route="all",status="2xx"} 60.0' in text


def test_a_killed_worker_loses_no_connection_that_waits(mode: bool, upstream: FakeUpstream) -> None:
    """A stopped worker takes nothing; what waits in the accept queue when it is killed is taken by another."""
    with GatewayHarness(config(upstream, 2), compiled=mode) as gateway, ExitStack() as stack:
        pids = edge_pids(gateway)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        waiting = [stack.enter_context(gateway.connect()) for _ in range(30)]
        for sock in waiting:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        os.kill(pids[0], signal.SIGKILL)
        os.kill(pids[1], signal.SIGCONT)
        assert Counter(Reader(sock).answer().status for sock in waiting) == {200: 30}
        wait_for(lambda: pids[0] not in (now := edge_pids(gateway)) and 0 not in now and len(now) == 2, 10)
        assert "edge 0" in gateway.output(), "the restart is said"


def test_more_than_one_worker_with_limits_is_refused(upstream: FakeUpstream) -> None:
    wanted = config(upstream, 2)
    wanted["routes"][0]["limits"] = [{"window": "5/minute", "by": "client"}]  # type: ignore[index]
    with GatewayHarness(wanted, wait=False) as gateway:
        assert gateway.process is not None
        assert gateway.process.wait(20) == 3
        assert "server.workers: must be 1 while there are limits" in gateway.output()
