"""A rolling restart: new processes on the same sockets, and nobody notices."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.load import Load

from portico.errors import ControlError
from portico.runtime import control
from portico.testing import Connection, FakeUpstream, GatewayHarness, Request, response, wait_for


def config(upstream: FakeUpstream, workers: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "server": {"workers": workers, "listen": [{"host": "127.0.0.1", "port": 0, "metrics": True}], **more},
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users"}],
    }


def places(gateway: GatewayHarness) -> dict[tuple[str, int], int]:
    return {(each["role"], each["index"]): each["pid"] for each in gateway.status()["processes"]}


def edges(gateway: GatewayHarness) -> list[str]:
    """The states of the edge processes, in alphabetical order."""
    return sorted(each["state"] for each in gateway.status()["processes"] if each["role"] == "edge")


def counted(gateway: GatewayHarness) -> int:
    port = int(gateway.status()["listeners"][1].rpartition(":")[2])
    previous, gateway.port = gateway.port, port
    text = gateway.request("GET", "/metrics").body.decode()
    gateway.port = previous
    found = re.findall(r'portico_requests_total\{method="\w+",route="users",status="2xx"\} (\S+)', text)
    return sum(int(float(each)) for each in found)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_request_is_lost_in_a_restart_under_load(workers: int) -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, workers)) as gateway:
        before = places(gateway)
        ours = Load(gateway, "/api/v1/public/status", kept=2, fresh=1)
        with Load(gateway, kept=4, fresh=2, method="POST") as load, ours:
            load.more(200)
            body = json.loads(gateway.cli("restart", "--json").stdout)
            load.more(200)
        assert load.failed() == [], gateway.output()
        assert ours.failed() == [], gateway.output()
        after = places(gateway)
        assert after.keys() == before.keys()
        assert not set(after.values()) & set(before.values())
        told = {(each["role"], each["index"]): (each["replaced"], each["pid"]) for each in body["restarted"]}
        assert told == {place: (before[place], after[place]) for place in before}
        assert len(upstream.requests) == load.count, "each was executed once"
        assert counted(gateway) == load.count, "what the old processes had counted stays"
        assert gateway.status()["state"] == "ready"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twenty_restarts_under_load_lose_nothing_and_leave_nothing_behind() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, 2)) as gateway:
        descriptors = len(os.listdir(f"/proc/{gateway.pid}/fd"))
        with Load(gateway, kept=4, fresh=4, method="POST") as load:
            for _ in range(20):
                load.more(50)
                assert gateway.cli("restart").returncode == 0
        assert load.failed() == [], gateway.output()
        assert len(os.listdir(f"/proc/{gateway.pid}/fd")) <= descriptors + 2
        assert len(gateway.status()["processes"]) == 3


def test_each_step_is_told() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        before = places(gateway)
        done = gateway.cli("restart")
        assert done.returncode == 0
        lines = done.stdout.splitlines()
        assert [re.sub(r"\d+ (is|starts|fin|has)", r"N \1", line) for line in lines] == [
            "services 0: process N starts",
            "services 0: process N is ready",
            "services 0: process N finishes what is in flight",
            "services 0: process N has ended",
            "edge 0: process N starts",
            "edge 0: process N is ready",
            "edge 0: process N finishes what is in flight",
            "edge 0: process N has ended",
            "restarted: 2 processes",
        ]
        assert lines[2].startswith(f"services 0: process {before['services', 0]} finishes")


class Held:
    """An upstream handler that answers `/users/held` only when it is let go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go = threading.Event()

    def __call__(self, request: Request, connection: Connection) -> bytes:
        if request.target == "/users/held":
            self.arrived.set()
            assert self.go.wait(20)
        return response(200, b"here")


class Restart:
    """A gateway in the middle of a restart: the old edge still has one request, and ends when `finish` lets it go."""

    def __init__(self, gateway: GatewayHarness, held: Held) -> None:
        self.gateway = gateway
        self.held = held
        self.waiting, self.answers = in_thread(gateway.request, "GET", "/users/held")
        assert held.arrived.wait(5)
        self.restarting, self.done = in_thread(gateway.cli, "restart")
        wait_for(lambda: len(gateway.status()["processes"]) == 3, 10)

    def finish(self) -> None:
        """Let the request be answered; return when it is and the restart has ended."""
        self.held.go.set()
        for thread in (self.waiting, self.restarting):
            thread.join(20)
        assert (self.answers[0].status, self.answers[0].body) == (200, b"here")


@contextmanager
def restart_under_way() -> Iterator[tuple[Restart, FakeUpstream]]:
    held = Held()
    with FakeUpstream(held) as upstream, GatewayHarness(config(upstream)) as gateway:
        yield Restart(gateway, held), upstream


def in_thread(function: Any, *arguments: Any) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)), daemon=True)
    thread.start()
    return thread, results


def test_what_is_in_flight_ends_in_the_old_process_while_the_new_one_serves() -> None:
    with restart_under_way() as (restart, _):
        gateway = restart.gateway
        wait_for(lambda: edges(gateway) == ["draining", "ready"], 10)
        assert gateway.status()["state"] == "ready"
        assert gateway.request("GET", "/users/1").status == 200
        assert gateway.cli("restart").stderr.startswith("portico: another restart is under way")
        restart.finish()
        assert restart.done[0].returncode == 0
        assert len(gateway.status()["processes"]) == 2


def test_an_old_process_that_does_not_finish_is_killed_when_its_time_is_over() -> None:
    held = Held()
    with FakeUpstream(held) as upstream, GatewayHarness(config(upstream, limits={"drain": "300ms"})) as gateway:
        waiting, _ = in_thread(lambda: _error(gateway))
        assert held.arrived.wait(5)
        began = time.monotonic()
        assert gateway.cli("restart").returncode == 0
        assert time.monotonic() - began < 15
        held.go.set()
        waiting.join(20)


def _error(gateway: GatewayHarness) -> str:
    try:
        gateway.request("GET", "/users/held")
    except OSError as error:
        return str(error)
    return ""


SPOILED = "import sys\nif 'portico.edge' in ' '.join(sys.orig_argv):\n    raise SystemExit('broken code')\n"


def test_code_that_does_not_start_breaks_the_restart_off_and_the_old_processes_go_on(tmp_path: Path) -> None:
    """`sitecustomize` stands for a bad deployment: it is loaded by every process that starts from now on."""
    environment = {"PYTHONPATH": str(tmp_path)}
    with FakeUpstream() as upstream, GatewayHarness(config(upstream), env=environment) as gateway:
        before = places(gateway)
        (tmp_path / "sitecustomize.py").write_text(SPOILED)
        with Load(gateway, kept=2, fresh=1) as load:
            failed = gateway.cli("restart")
            load.more(50)
        assert failed.returncode == 1
        assert "edge 0: the new process ended with code 1; the old one goes on" in failed.stderr
        assert load.failed() == []
        after = places(gateway)
        assert after["edge", 0] == before["edge", 0]
        assert gateway.status()["state"] == "ready"
        (tmp_path / "sitecustomize.py").unlink()
        assert gateway.cli("restart").returncode == 0
        assert places(gateway)["edge", 0] != before["edge", 0]


def test_a_reload_in_the_middle_of_a_restart_reaches_the_new_process() -> None:
    with restart_under_way() as (restart, upstream):
        gateway = restart.gateway
        changed = config(upstream)
        changed["routes"].append({"name": "new", "paths": ["/new/*"], "upstream": "users"})
        gateway.rewrite(changed)
        gateway.reload()
        wait_for(lambda: gateway.request("GET", "/new/1").status == 200)
        restart.finish()
        assert restart.done[0].returncode == 0
        assert gateway.request("GET", "/new/1").status == 200
        assert {each["version"] for each in gateway.status()["processes"]} == {2}


def test_a_stop_in_the_middle_of_a_restart_ends_everything() -> None:
    with restart_under_way() as (restart, _):
        gateway = restart.gateway
        gateway.signal(signal.SIGTERM)
        restart.restarting.join(20)
        assert restart.done[0].returncode == 1
        assert "the gateway is stopping" in restart.done[0].stderr
        restart.finish()
        assert gateway.process is not None
        assert gateway.process.wait(10) == 0


def test_an_old_process_that_dies_meanwhile_changes_nothing(tmp_path: Path) -> None:
    slow = "import sys, time\nif 'portico.edge' in ' '.join(sys.orig_argv):\n    time.sleep(1)\n"
    with FakeUpstream() as upstream, GatewayHarness(config(upstream), env={"PYTHONPATH": str(tmp_path)}) as gateway:
        old = places(gateway)["edge", 0]
        (tmp_path / "sitecustomize.py").write_text(slow)
        restarting, done = in_thread(gateway.cli, "restart")
        wait_for(lambda: len(gateway.status()["processes"]) == 3 and gateway.status()["processes"][0]["pid"] == old, 10)
        os.kill(old, signal.SIGKILL)
        restarting.join(20)
        assert done[0].returncode == 0, done[0].stderr
        assert gateway.request("GET", "/users/1").status == 200
        assert len(gateway.status()["processes"]) == 2


def test_a_restart_of_nothing_that_runs_is_refused(tmp_path: Path) -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        gateway.stop()
        assert gateway.cli("restart", "--data-dir", str(tmp_path)).returncode == 4
    with pytest.raises(ControlError, match="what can be asked is"), GatewayHarness() as other:
        control.ask(other.data_dir, "rest")
