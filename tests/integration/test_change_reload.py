"""Reloading under load: no request is lost, nothing that did not change is lost, and no memory is."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.load import Load
from tests.integration.test_supervisor_reload import install

from portico.errors import ConfigError
from portico.testing import Connection, FakeUpstream, GatewayHarness, Reader, Request, response

TURNING = """
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

class Turn(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    turn: int = 0

class Plugin(BasePlugin):
    info = PluginInfo("turning", PluginType.BUSINESS)
    config_model = "portico_turning:Turn"
    mounts = (Mount("GET", "/api/v1/turn"),)
    def router(self):
        router = APIRouter()
        router.add_api_route("/api/v1/turn", lambda: {"turn": self.config["turn"]}, methods=["GET"])
        return router
"""


def config(upstream: FakeUpstream, turn: int = 0) -> dict[str, Any]:
    """`users` is the same in every turn; `other`, its route and a plugin's configuration are not."""
    patience = {"first_byte": f"{5 + turn % 7}s"}
    return {
        "upstreams": {"users": {"targets": [upstream.url]}, "other": {"targets": [upstream.url], "timeouts": patience}},
        "routes": [
            {"name": "users", "paths": ["/users/*"], "upstream": "users"},
            {"name": "few", "paths": ["/few/*"], "upstream": "users", "limits": [{"window": "3/day", "by": "client"}]},
            {"name": f"other-{turn % 5}", "paths": [f"/other/{turn % 5}/*"], "upstream": "other"},
            *({"name": f"r{number}", "paths": [f"/r{number}/*"], "upstream": "users"} for number in range(20)),
        ],
        "plugins": {"turning": {"turn": turn}},
    }


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    install(tmp_path, "turning", TURNING)
    return {"PYTHONPATH": str(tmp_path)}


# MiB by which a process may have grown; a reload makes the plugins anew, in the services, whose memory settles slowly.
MOST = {"edge": 3, "supervisor": 3, "services": 20}


def resident(gateway: GatewayHarness) -> dict[str, int]:
    """MiB by process, the supervisor's too."""
    pids = {each["role"]: each["pid"] for each in gateway.status()["processes"]} | {"supervisor": gateway.pid}
    return {role: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for role, pid in pids.items()}


def settles(grown: Callable[[], dict[str, int]]) -> None:
    """The last generations retire after the last reload has been answered; their memory is free soon after."""
    deadline = time.monotonic() + 60
    found = grown()
    while any(mebibytes > MOST[role] for role, mebibytes in found.items()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
        found = grown()


def reload_often(gateway: GatewayHarness, upstream: FakeUpstream, turns: range) -> None:
    for turn in turns:
        gateway.rewrite(config(upstream, turn))
        gateway.reload()
        upstream.requests.clear()
        assert gateway.request("GET", f"/other/{turn % 5}/x").status == 200
        assert gateway.request("GET", f"/other/{(turn + 1) % 5}/x").status == 404


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.long)])
def test_reloads_under_load_lose_no_request_and_no_memory(environment: dict[str, str], count: int) -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream), env=environment) as gateway:
        reload_often(gateway, upstream, range(1, 30))
        ours = Load(gateway, "/api/v1/turn", kept=1, fresh=1, pause=0.01)
        with Load(gateway, kept=1, fresh=1, pause=0.01, method="POST") as load, ours:
            load.more(20)
            before = resident(gateway)
            reload_often(gateway, upstream, range(30, 30 + count))
        assert load.failed() == []
        assert ours.failed() == []
        settles(lambda: {role: (now - before[role]) >> 20 for role, now in resident(gateway).items()})
        status = gateway.status()
        assert status["config"]["reloads"] == {"ok": count + 29, "failed": 0}
        assert gateway.request("GET", "/api/v1/turn").json() == {"turn": count + 29}
        assert status["processes"][0]["gc"]["longest"] < 0.02, "of processor time"


def test_refused_files_under_load_change_nothing_and_are_told(environment: dict[str, str]) -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream), env=environment) as gateway:
        with Load(gateway, kept=2, fresh=2) as load:
            for turn in range(10):
                load.more(20)
                gateway.rewrite(
                    "routes: [{name: x, paths: [/x], upstream: nowhere}]" if turn % 2 else "server: {prot: 1}"
                )
                with pytest.raises(ConfigError):
                    gateway.reload()
            gateway.signal(signal.SIGHUP)
            load.more(20)
        assert load.failed() == []
        status = gateway.status()["config"]
        assert status["version"] == 1
        assert "routes[0].upstream: is not the name of an upstream" in status["last_error"]
        assert "the last reload was refused:" in gateway.cli("status").stdout
        assert status["reloads"] == {"ok": 0, "failed": 11}
        assert gateway.output().count("the reload was refused; the last good configuration stays") == 11


def test_what_did_not_change_keeps_its_connections_and_its_limits(environment: dict[str, str]) -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream), env=environment) as gateway:
        first = gateway.request("GET", "/users/1").json()["connection"]
        other = gateway.request("GET", "/other/0/1").json()["connection"]
        assert [gateway.request("GET", "/few/1").status for _ in range(3)] == [200] * 3
        for turn in range(1, 12):
            gateway.rewrite(config(upstream, turn))
            gateway.reload()
        assert gateway.request("GET", "/few/1").status == 429
        assert gateway.request("GET", "/users/1").json()["connection"] == first
        upstream.wait_for(lambda: other in upstream.closed)
        assert first not in upstream.closed


def test_a_kept_connection_of_a_client_goes_on_with_the_new_plan(environment: dict[str, str]) -> None:
    ask = b"GET /other/%d/x HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        FakeUpstream() as upstream,
        GatewayHarness(config(upstream), env=environment) as gateway,
        gateway.connect() as sock,
    ):
        sock.sendall(ask % 0)
        assert Reader(sock).answer().status == 200
        gateway.rewrite(config(upstream, 1))
        gateway.reload()
        for number, status in ((1, 200), (0, 404)):
            sock.sendall(ask % number)
            assert Reader(sock).answer().status == status


def test_a_request_in_flight_finishes_on_the_plan_it_began_with(environment: dict[str, str]) -> None:
    """Its route and its upstream are gone by the time the answer comes."""
    arrived, go = threading.Event(), threading.Event()

    def slow(request: Request, connection: Connection) -> bytes:
        arrived.set()
        assert go.wait(10)
        return response(200, b"of the old plan")

    with FakeUpstream(slow) as upstream, GatewayHarness(config(upstream), env=environment) as gateway:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(gateway.request("GET", "/other/0/slow")), daemon=True)
        thread.start()
        assert arrived.wait(5)
        gateway.rewrite({"upstreams": {}, "routes": []})
        gateway.reload()
        assert gateway.request("GET", "/other/0/slow").status == 404
        time.sleep(0.1)
        go.set()
        thread.join(10)
        assert (answers[0].status, answers[0].body) == (200, b"of the old plan")
        upstream.wait_for(lambda: upstream.open_connections == 0)
        assert gateway.access_log(2)[-1]["route"] == "other-0"
