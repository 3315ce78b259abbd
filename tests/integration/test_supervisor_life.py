"""One gateway from start to end: the lock, the directories, signals, draining, stopping."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from portico import contracts
from portico.errors import NotRunning
from portico.runtime import control, secret
from portico.runtime.paths import read_record
from portico.testing import Answer, Connection, FakeUpstream, GatewayHarness, Reader, Request, response, wait_for
from portico.testing.client import request_bytes


def config(upstream: FakeUpstream, **server: Any) -> dict[str, Any]:
    return {
        "server": server,
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users"}],
    }


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Slow:
    """An upstream handler that answers only when it is let go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go = threading.Event()

    def __call__(self, request: Request, connection: Connection) -> bytes:
        self.arrived.set()
        assert self.go.wait(20)
        return response(200, b"at last")


class Pending:
    """A request in flight, in a thread of its own."""

    def __init__(self, gateway: GatewayHarness, path: str) -> None:
        self.answer: Answer | None = None
        self.error: OSError | None = None
        self.thread = threading.Thread(target=self._run, args=(gateway, path), daemon=True)
        self.thread.start()

    def _run(self, gateway: GatewayHarness, path: str) -> None:
        try:
            self.answer = gateway.request("GET", path, timeout=20)
        except OSError as error:
            self.error = error

    def join(self) -> Answer | None:
        self.thread.join(20)
        return self.answer


def test_a_whole_life() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        record = read_record(gateway.data_dir)
        assert record is not None
        assert record.pid == gateway.pid == int((gateway.data_dir / "portico.pid").read_text())
        assert record.listeners == (gateway.url,)
        runtime = Path(record.runtime_dir)
        for directory in (gateway.data_dir, runtime):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for path in (Path(record.control), runtime / "services.sock"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert len(str(path)) <= 107
        assert gateway.request("GET", "/users/1").json()["path"] == "/users/1"
        assert len(gateway.output().splitlines()) < 10
        children = [process["pid"] for process in gateway.status()["processes"]]
        assert gateway.stop() == 0
        assert not any(alive(pid) for pid in children)
        assert not runtime.exists()
        assert not (gateway.data_dir / "portico.pid").exists()
        assert not (gateway.data_dir / "runtime.json").exists()
        with pytest.raises(ConnectionRefusedError):
            gateway.connect()


def test_what_children_are_told_is_in_no_environment_and_no_argument() -> None:
    digest = "ab" * 32
    keyed = {"keys": [{"id": "demo", "sha256": "${DIGEST}"}]}
    with GatewayHarness(keyed, env={"DIGEST": digest}) as gateway:
        for process in gateway.status()["processes"]:
            command = Path(f"/proc/{process['pid']}/cmdline").read_bytes().split(b"\0")
            assert command[-2].isdigit()
            assert not any(len(each) > 200 for each in command)
            environ = Path(f"/proc/{process['pid']}/environ").read_bytes()
            assert b"principal" not in environ
        assert digest not in json.dumps(gateway.status())
        assert digest not in gateway.output()


def test_the_passphrase_is_in_no_environment_no_argument_and_no_answer() -> None:
    word = "correct horse battery staple"
    with GatewayHarness({"log": {"level": "debug"}}, env={"PORTICO_PASSPHRASE": word}) as gateway:
        gateway.reload()
        assert gateway.cli("restart").returncode == 0
        for process in gateway.status()["processes"]:
            environ = Path(f"/proc/{process['pid']}/environ").read_bytes()
            assert b"PATH=" in environ
            assert b"PORTICO_PASSPHRASE" not in environ
            assert word.encode() not in environ
            assert word.encode() not in Path(f"/proc/{process['pid']}/cmdline").read_bytes()
        assert word not in json.dumps(gateway.status())
        assert word not in gateway.output()


def test_only_the_services_are_told_where_the_database_is() -> None:
    told = "postgresql://portico:database-word@db.internal/portico"
    snapshot = contracts.Snapshot(
        1, "test", contracts.Server(()), storage=contracts.Storage(told), backups=contracts.Backups(60, to="/backups")
    )
    assert secret.for_role(snapshot, "services") is snapshot
    for role in ("edge", "echo"):
        text = contracts.dump(secret.for_role(snapshot, role))
        assert "database-word" not in text
        assert "/backups" not in text


def test_ctrl_c_in_a_terminal_reaches_the_supervisor_alone() -> None:
    with GatewayHarness() as gateway:
        for process in gateway.status()["processes"]:
            assert os.getpgid(process["pid"]) != os.getpgid(gateway.pid)


def test_a_second_start_says_which_process_holds_the_directory() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        second = gateway.cli("up", "-c", str(gateway.config_path), "--data-dir", str(gateway.data_dir), "--port", "0")
        assert second.returncode == 5
        assert f"process {gateway.pid} already runs a gateway on {gateway.data_dir}" in second.stderr
        assert len(second.stderr.splitlines()) == 2
        assert gateway.request("GET", "/users/1").status == 200
        assert gateway.status()["pid"] == gateway.pid


def test_after_a_crash_its_children_end_and_the_next_start_works() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        children = [process["pid"] for process in gateway.status()["processes"]]
        gateway.signal(signal.SIGKILL)
        assert gateway.process is not None
        gateway.process.wait(5)
        wait_for(lambda: not any(alive(pid) for pid in children))
        assert (gateway.data_dir / "portico.pid").exists(), "a stale file is what this test is about"
        with pytest.raises(NotRunning):
            control.ask(gateway.data_dir, "status")
        gateway.start()
        assert gateway.request("GET", "/users/1").status == 200
        assert gateway.status()["pid"] == gateway.pid


def test_sigterm_lets_what_is_in_flight_finish_and_takes_nothing_new() -> None:
    slow = Slow()
    with FakeUpstream(slow) as upstream, GatewayHarness(config(upstream)) as gateway:
        pending = Pending(gateway, "/users/slow")
        assert slow.arrived.wait(5)
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: _refused(gateway))
        assert gateway.status()["state"] == "draining"
        services = gateway.status()["processes"][1]
        assert services["role"] == "services"
        assert alive(services["pid"]), "the services outlive the edge"
        slow.go.set()
        answer = pending.join()
        assert answer is not None, pending.error
        assert (answer.status, answer.body) == (200, b"at last")
        assert gateway.process is not None
        assert gateway.process.wait(10) == 0


def _refused(gateway: GatewayHarness) -> bool:
    try:
        gateway.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigint_once_drains() -> None:
    slow = Slow()
    with FakeUpstream(slow) as upstream, GatewayHarness(config(upstream)) as gateway:
        pending = Pending(gateway, "/users/slow")
        assert slow.arrived.wait(5)
        gateway.signal(signal.SIGINT)
        wait_for(lambda: gateway.status()["state"] == "draining")
        slow.go.set()
        answer = pending.join()
        assert answer is not None
        assert answer.body == b"at last"
        assert gateway.process is not None
        assert gateway.process.wait(10) == 0


def test_sigint_twice_is_immediate() -> None:
    slow = Slow()
    with FakeUpstream(slow) as upstream, GatewayHarness(config(upstream)) as gateway:
        pending = Pending(gateway, "/users/slow")
        assert slow.arrived.wait(5)
        children = [process["pid"] for process in gateway.status()["processes"]]
        gateway.signal(signal.SIGINT)
        wait_for(lambda: gateway.status()["state"] == "draining")
        began = time.monotonic()
        gateway.signal(signal.SIGINT)
        assert gateway.process is not None
        assert gateway.process.wait(5) == 130
        assert time.monotonic() - began < 2
        assert not any(alive(pid) for pid in children)
        assert not (gateway.data_dir / "portico.pid").exists()
        slow.go.set()
        pending.join()


def test_a_drain_ends_after_its_time() -> None:
    slow = Slow()
    limits = {"limits": {"drain": "500ms"}}
    with FakeUpstream(slow) as upstream, GatewayHarness(config(upstream, **limits)) as gateway:
        pending = Pending(gateway, "/users/slow")
        assert slow.arrived.wait(5)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert 0.4 < time.monotonic() - began < 5
        slow.go.set()
        pending.join()


def test_a_worker_that_hangs_is_killed_when_the_drain_is_over() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, limits={"drain": "100ms"})) as gateway:
        os.kill(gateway.status()["processes"][0]["pid"], signal.SIGSTOP)
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: _refused(gateway), 1.5)  # its descriptor keeps nobody waiting in a queue without end
        assert gateway.stop() == 0
        assert "edge 0 did not finish in time and is killed" in gateway.output()


def test_down_waits_until_it_has_ended() -> None:
    with GatewayHarness() as gateway:
        children = [process["pid"] for process in gateway.status()["processes"]]
        done = gateway.cli("down", "-c", str(gateway.config_path), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"stopped": gateway.pid, "data_dir": str(gateway.data_dir)}
        assert gateway.process is not None
        assert gateway.process.wait(1) == 0
        assert not any(alive(pid) for pid in children)


def test_an_address_in_use_stops_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, GatewayHarness(wait=False) as gateway:
        gateway.stop()
        port = taken.getsockname()[1]
        failed = gateway.cli("up", "--port", str(port), "--data-dir", str(gateway.directory / "other"))
        assert failed.returncode == 1
        assert f"127.0.0.1:{port} is in use by another process" in failed.stderr
        assert not (gateway.directory / "other" / "portico.pid").exists()


def test_an_edge_that_cannot_start_stops_the_start_and_what_had_started() -> None:
    with GatewayHarness(wait=False) as gateway:
        gateway.stop()
        gateway.env = {"PORTICO_COMPILED_DIR": str(gateway.directory)}
        gateway.compiled = True
        failed = gateway.cli("up", "--port", "0", "--data-dir", str(gateway.directory / "other"))
        assert failed.returncode == 1
        assert "nothing has been compiled" in failed.stderr
        assert "portico: edge 0 ended with code 1 before it was ready" in failed.stderr
        assert not (gateway.directory / "other" / "runtime.json").exists()


def test_the_edge_alone() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream), args=("--role", "edge")) as gateway:
        assert [process["role"] for process in gateway.status()["processes"]] == ["edge"]
        assert gateway.request("GET", "/users/1").status == 200
        assert gateway.request("GET", "/health/ready").status == 200
        answer = gateway.request("GET", "/api/v1/public/status")
        assert answer.status == 503
        assert answer.header("Content-Type") == "application/problem+json"


def test_the_services_alone() -> None:
    with GatewayHarness(args=("--role", "services")) as gateway:
        status = gateway.status()
        assert [process["role"] for process in status["processes"]] == ["services"]
        assert status["listeners"] == []
        record = read_record(gateway.data_dir)
        assert record is not None
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(Path(record.runtime_dir) / "services.sock"))
            sock.sendall(request_bytes("GET", "/api/v1/public/status", "portico"))
            assert Reader(sock).answer().status == 200


def test_nothing_of_a_harness_survives_its_block() -> None:
    with GatewayHarness() as gateway:
        pids = [gateway.pid, *(process["pid"] for process in gateway.status()["processes"])]
    assert not any(alive(pid) for pid in pids)
