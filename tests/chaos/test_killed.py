"""kill -9 under load: only what was in flight in the process that died is lost, and afterwards nothing is."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.load import Load
from tests.chaos.upstream_process import UpstreamProcess

from portico.testing import FakeUpstream, GatewayHarness, wait_for

SETTLED = 0.5  # seconds after which nobody uses what a dead process had any longer


def config(*urls: str, **server: Any) -> dict[str, Any]:
    patient = {"breaker": {"open_for": "200ms"}, "retries": {"budget": "100%"}}
    return {
        "server": server,
        "upstreams": {"users": {"targets": list(urls), **patient}},
        "routes": [{"name": "users", "paths": ["/users/*", "/echo/*"], "upstream": "users"}],
    }


def process(gateway: GatewayHarness, role: str, index: int = 0) -> dict[str, Any]:
    found = [each for each in gateway.status()["processes"] if (each["role"], each["index"]) == (role, index)]
    return dict(found[0])


def all_ready(gateway: GatewayHarness) -> bool:
    return bool(gateway.status()["state"] == "ready")


def nothing_is_left_over(gateway: GatewayHarness) -> None:
    """Once the load is gone nothing is in flight: no slot, no exchange was lost in the ending of another."""
    wait_for(lambda: all(each["in_flight"] == 0 for each in gateway.status()["processes"]))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_edge_worker(workers: int) -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream.url, workers=workers)) as gateway:
        with Load(gateway, kept=4, fresh=4) as load:
            for _ in range(3):
                load.more(100)
                before = len(load.failed())
                os.kill(process(gateway, "edge")["pid"], signal.SIGKILL)
                killed = time.monotonic()
                wait_for(lambda: process(gateway, "edge")["state"] == "ready", 10)
                load.more(100)
                assert len(load.failed()) - before <= 8, "each client had one request in flight, and one connection"
                assert load.failed(since=killed + SETTLED) == []
        assert {each.status for each in load.failed()} <= {0}
        nothing_is_left_over(gateway)


def test_the_services() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream.url)) as gateway:
        ours = Load(gateway, "/api/v1/public/status", kept=3, fresh=3)
        with Load(gateway, kept=2, fresh=2) as load, ours:
            for _ in range(2):
                ours.more(50)
                before = len(ours.failed())
                os.kill(process(gateway, "services")["pid"], signal.SIGKILL)
                killed = time.monotonic()
                wait_for(lambda: all_ready(gateway), 10)
                ours.more(50)
                assert len(ours.failed()) - before <= 6
                assert ours.failed(since=killed + SETTLED) == [], "they waited for the next process"
        assert load.failed() == [], "routes are not touched"
        assert {each.status for each in ours.failed()} <= {503}
        nothing_is_left_over(gateway)


def test_services_that_do_not_come_back_are_not_waited_for() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream.url)) as gateway:
        os.kill(process(gateway, "services")["pid"], signal.SIGSTOP)  # hung, until it is found out
        os.kill(process(gateway, "services")["pid"], signal.SIGKILL)
        wait_for(lambda: process(gateway, "services")["state"] == "starting", 10)
        os.kill(process(gateway, "services")["pid"], signal.SIGSTOP)  # the next one never becomes ready
        began = time.monotonic()
        assert gateway.request("GET", "/api/v1/public/status", timeout=20).status == 503
        assert time.monotonic() - began < 15
        began = time.monotonic()
        assert gateway.request("GET", "/api/v1/public/status").status == 503
        assert time.monotonic() - began < 2, "at once from now on"
        assert gateway.request("GET", "/users/1").status == 200
        os.kill(process(gateway, "services")["pid"], signal.SIGCONT)
        wait_for(lambda: all_ready(gateway), 20)
        assert [gateway.request("GET", "/api/v1/public/status").status for _ in range(20)] == [200] * 20


def test_an_upstream_that_is_alone() -> None:
    with UpstreamProcess() as upstream, GatewayHarness(config(upstream.url)) as gateway:
        with Load(gateway, "/echo/1", kept=3, fresh=3, pause=0.002) as load:
            load.more(100)
            assert load.failed() == []
            upstream.kill()
            load.more(30)
            upstream.start()
            wait_for(lambda: gateway.request("GET", "/echo/1").status == 200, 10)
            back = time.monotonic() + SETTLED
            time.sleep(2 * SETTLED)
            load.more(100)
        told = Counter(each.status for each in load.failed())
        assert told.keys() <= {502, 503}, "the gateway itself answers, always"
        assert load.failed(since=back) == []
        nothing_is_left_over(gateway)


def test_one_upstream_of_two() -> None:
    with (
        UpstreamProcess() as first,
        UpstreamProcess() as second,
        GatewayHarness(config(first.url, second.url)) as gateway,
    ):
        with Load(gateway, "/echo/1", kept=4, fresh=4) as load:
            load.more(100)
            first.kill()
            load.more(300)
            first.start()
            load.more(300)
        assert load.failed() == [], "the other one takes them all, those in flight and those refused too"
        nothing_is_left_over(gateway)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("hung", [False, True])
def test_the_supervisor(hung: bool) -> None:
    """Its children end by themselves, even one that hangs; the next start has the address at once."""
    with FakeUpstream() as upstream, GatewayHarness(config(upstream.url, workers=2)) as gateway:
        children = [each["pid"] for each in gateway.status()["processes"]]
        with Load(gateway, kept=3, fresh=3) as load:
            load.more(100)
            if hung:
                os.kill(process(gateway, "edge", 1)["pid"], signal.SIGSTOP)
            gateway.signal(signal.SIGKILL)
            assert gateway.process is not None
            gateway.process.wait(5)
            gateway.start()
            ready = time.monotonic() + SETTLED
            time.sleep(2 * SETTLED)
            load.more(100)
        assert load.failed(since=ready) == []
        wait_for(lambda: not any(alive(pid) for pid in children))
        assert gateway.request("GET", "/api/v1/public/status").status == 200
        assert gateway.cli("down").returncode == 0
