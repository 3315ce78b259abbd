"""What an operator sees of each process: age, memory, requests, event-loop lag; and that cycles do not pile up."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_supervisor_reload import install

from portico.testing import FakeUpstream, GatewayHarness, Reader, wait_for

WASTEFUL = """
from portico.contracts import ADMIT
from portico.edge.exchange import Step
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType, PolicySpec

def check(exchange):
    cycle = [bytearray(20_000)]
    cycle.append(cycle)
    if exchange.path.endswith(b"/bad"):
        raise ValueError(cycle)

def build(config, context):
    return Step("wasteful", ADMIT, check)

class Plugin(BasePlugin):
    info = PluginInfo("wasteful", PluginType.MIDDLEWARE)
    def policies(self):
        return [PolicySpec("wasteful", ADMIT, 100, "portico_wasteful:build")]
"""


def config(upstream: FakeUpstream, **more: Any) -> dict[str, Any]:
    return {
        "server": {"listen": [{"host": "127.0.0.1", "port": 0, "metrics": True}]},
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users", **more}],
        "log": {"level": "error"},
    }


def row(gateway: GatewayHarness, role: str) -> dict[str, Any]:
    return dict(next(each for each in gateway.status()["processes"] if each["role"] == role))


def lags(gateway: GatewayHarness) -> dict[str, float]:
    port = int(gateway.status()["listeners"][1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = Reader(sock).answer().body.decode()
    assert "# TYPE portico_loop_lag_seconds gauge" in text
    return {
        name: float(value) for name, value in re.findall(r'portico_loop_lag_seconds\{process="(.*?)"\} (\S+)', text)
    }


def test_every_process_shows_its_age_memory_requests_and_lag() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        for _ in range(7):
            gateway.request("GET", "/users/1")
        for _ in range(3):
            gateway.request("GET", "/api/v1/public/status")
        for role, requests in (("edge", 10), ("services", 3)):
            shown = row(gateway, role)
            resident = int(Path(f"/proc/{shown['pid']}/statm").read_text().split()[1]) * 4096
            assert abs(shown["rss"] - resident) < 4 << 20
            assert shown["requests"] == requests
            assert 0 < shown["age"] < 60
            assert 0 <= shown["lag"] < 5
        text = gateway.cli("status").stdout
        assert re.search(r"^edge 0 +\d+ +ready +\d+ s +0 +\d+ MiB +\d+ +\d+ +10 +[\d.]+ ms$", text, re.MULTILINE), text
        assert lags(gateway).keys() == {"edge 0", "services 0"}


def test_a_loop_that_stood_still_shows_in_the_status_and_in_the_metrics() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        pid = row(gateway, "edge")["pid"]
        time.sleep(0.3)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: row(gateway, "edge")["lag"] > 0.5)
        assert lags(gateway)["edge 0"] > 0.5


@pytest.mark.parametrize("routes", [0, 3000])
def test_cycles_and_errors_leave_no_memory_behind_and_collections_are_short(tmp_path: Path, routes: int) -> None:
    """Each of 4,000 requests leaves a cycle of 20 KB: 80 MB, if nobody looked for them. Whatever is loaded."""
    install(tmp_path, "wasteful", WASTEFUL)
    with FakeUpstream() as upstream:
        told = {**config(upstream, policies={"wasteful": {}}), "plugins": {"wasteful": {}}}
        told["routes"] += [{"name": f"r{n}", "paths": [f"/r{n}/*"], "upstream": "users"} for n in range(routes)]
        with GatewayHarness(told, env={"PYTHONPATH": str(tmp_path)}) as gateway:
            _waste(gateway, upstream)


def _waste(gateway: GatewayHarness, upstream: FakeUpstream) -> None:
    before = 0
    with gateway.connect() as sock:
        reader = Reader(sock)
        for number in range(4000):
            sock.sendall(b"GET /users/%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"bad" if number % 2 else b"good"))
            assert reader.answer().status == (500 if number % 2 else 200)
            if number % 10 == 0:
                upstream.requests.clear()
                time.sleep(0.005)
            if number == 1000:
                before = row(gateway, "edge")["rss"]
    shown = row(gateway, "edge")
    assert shown["rss"] - before < 30 << 20
    assert shown["gc"]["collections"] >= 2
    assert shown["gc"]["median"] <= 0.005, "of processor time; under 1 ms on a quiet machine"
    assert shown["gc"]["longest"] < 0.02, "once in a while something else takes the processor's caches"
