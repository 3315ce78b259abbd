"""The services process over a real channel and its real socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import pytest
from tests.unit.services.supervise import KEY, PUBLIC, ROUTES, Services, snapshot

from portico import contracts
from portico.contracts import PluginSpec
from portico.errors import PorticoError
from portico.identity.principal import Principal, sign
from portico.kernel.discovery import DEFAULT
from portico.services.bind import bind

PROBE = PluginSpec("probe", "tests.unit.services.probe:Probe", {"mark": "one"})


def test_ready_with_a_private_socket_and_a_lower_priority() -> None:
    with Services(snapshot()) as services:
        assert services.first == {"type": "ready"}
        assert stat.S_IMODE(services.path.stat().st_mode) == 0o600
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, services.process.pid) == min(own + 5, 19)
        assert services.get("/docs")[0] == 200


def test_report() -> None:
    with Services(snapshot()) as services:
        services.channel.send({"type": "ask", "id": 7, "what": "report"})
        answer = services.channel.receive()
        assert answer is not None
        assert (answer["type"], answer["id"]) == ("answer", 7)
        assert answer["body"]["pid"] == services.process.pid
        assert 0 <= answer["body"]["age"] < 20
        assert 10_000_000 < answer["body"]["rss"] < 200_000_000
        services.channel.send({"type": "ask", "id": 8, "what": "secrets"})
        assert services.channel.receive() == {"type": "answer", "id": 8, "error": "the services can't answer 'secrets'"}


@pytest.mark.parametrize("way", ["message", "signal"])
def test_drain_lets_requests_in_flight_end_then_stops_the_plugins(way: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Services(
        snapshot(plugins=(PUBLIC, PluginSpec(PROBE.id, PROBE.factory, {"mark": "one", "log": str(log)})))
    ) as services:
        answers: list[bytes] = []
        slow = threading.Thread(target=lambda: answers.append(services.get("/api/v1/probe/slow")[2]), daemon=True)
        slow.start()
        while "request" not in log.read_text():
            time.sleep(0.01)
        idle = services.connect()  # a kept-alive connection must not hold up the drain
        idle.request("GET", "/api/v1/probe/mark")
        idle.getresponse().read()
        began = time.monotonic()
        if way == "message":
            services.channel.send({"type": "drain"})
        else:
            services.process.send_signal(signal.SIGTERM)
        assert services.channel.receive()["type"] == "drained"
        assert services.process.wait(5) == 0
        assert time.monotonic() - began < 5
        slow.join()
        assert answers == [b'"done"']
        assert log.read_text().split() == ["initialize", "start", "request", "answer", "stop"]


def test_a_request_longer_than_the_drain_is_cut_off(tmp_path: Path) -> None:
    server = contracts.Server((), limits=contracts.Limits(drain=0.3))
    probe = PluginSpec(PROBE.id, PROBE.factory, {"mark": "one", "log": str(tmp_path / "log"), "slow": 30})
    boot = contracts.Snapshot(1, "test", server, plugins=(probe,))
    with Services(boot) as services:
        connection = services.connect()
        connection.request("GET", "/api/v1/probe/slow")
        while "request" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        began = time.monotonic()
        services.channel.send({"type": "drain"})
        assert services.channel.receive()["type"] == "drained"
        assert services.process.wait(5) == 0
        assert 0.3 <= time.monotonic() - began < 3
        assert (tmp_path / "log").read_text().split()[-1] == "stop"


def test_when_the_supervisor_is_gone_so_is_the_process(tmp_path: Path) -> None:
    probe = PluginSpec(PROBE.id, PROBE.factory, {"mark": "one", "log": str(tmp_path / "log"), "slow": 30})
    with Services(snapshot(plugins=(probe,))) as services:
        connection = services.connect()
        connection.request("GET", "/api/v1/probe/slow")
        while "request" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        services.channel.close()
        assert services.process.wait(3) == 1
        assert (tmp_path / "log").read_text().split()[-1] == "stop"


def test_ctrl_c_is_left_to_the_supervisor() -> None:
    with Services(snapshot()) as services:
        services.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert services.get("/docs")[0] == 200


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (PluginSpec("probe", "tests.unit.services.probe:Probe", {"fails": "start"}),
         "plugin 'probe' failed to start: RuntimeError: the dependency is away"),
        (PluginSpec("probe", "tests.unit.services.probe:Probe", {"fails": "router"}),
         "plugin 'probe' failed to make its router: RuntimeError: the dependency is away"),
        (PluginSpec("probe", "tests.unit.services.probe:Probe", {"fails": "mounts"}),
         "plugin 'probe' has a route GET /api/v1/probe/hidden that its `mounts` don't declare"),
        (PluginSpec("gone", "tests.unit.services.gone:Gone", {}),
         "plugin 'gone': tests.unit.services.gone:Gone can't be imported: "
         "ModuleNotFoundError: No module named 'tests.unit.services.gone'"),
    ],
)  # fmt: skip
def test_a_plugin_that_fails_stops_the_start_with_its_name_and_cause(
    spec: PluginSpec, sentence: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    with_log = PluginSpec(spec.id, spec.factory, {**spec.config, "log": str(log)})
    with Services(snapshot(plugins=(PUBLIC, with_log))) as services:
        assert services.first == {"type": "failed", "error": sentence}
        assert services.process.wait(5) == 1
        assert not services.path.exists()
        assert json.loads(services.log().splitlines()[0])["cause"] == sentence
    done = log.read_text().split()
    assert not done or done[-1] == "stop"


def test_a_socket_that_can_t_be_bound_is_said_and_plugins_are_stopped(tmp_path: Path) -> None:
    probe = PluginSpec(PROBE.id, PROBE.factory, {"mark": "one", "log": str(tmp_path / "log")})
    services = Services(snapshot(plugins=(probe,)))
    services.socket_name = "not/there.sock"
    with services:
        assert services.first is not None
        assert services.first["type"] == "failed"
        assert "FileNotFoundError" in services.first["error"]
        assert services.process.wait(5) == 1
    assert (tmp_path / "log").read_text().split() == ["initialize", "start", "stop"]


def test_reload_with_the_same_plugins_keeps_them(tmp_path: Path) -> None:
    probe = PluginSpec(PROBE.id, PROBE.factory, {"mark": "one", "log": str(tmp_path / "log")})
    with Services(snapshot(plugins=(PUBLIC, probe))) as services:
        text = contracts.dump(snapshot(2, (PUBLIC, probe), demo=True))
        services.channel.send({"type": "reload", "snapshot": text})
        assert services.channel.receive() == {"type": "reloaded", "version": 2}
        assert (tmp_path / "log").read_text().split() == ["initialize", "start"]


def test_reload_with_a_changed_plugin_starts_the_new_one_and_requests_in_flight_end_on_the_old(tmp_path: Path) -> None:
    one = PluginSpec(PROBE.id, PROBE.factory, {"mark": "one", "log": str(tmp_path / "one")})
    two = PluginSpec(PROBE.id, PROBE.factory, {"mark": "two", "log": str(tmp_path / "two")})
    with Services(snapshot(plugins=(one,))) as services:
        answers: list[bytes] = []
        slow = threading.Thread(target=lambda: answers.append(services.get("/api/v1/probe/slow")[2]), daemon=True)
        slow.start()
        while "request" not in (tmp_path / "one").read_text():
            time.sleep(0.01)
        services.channel.send({"type": "reload", "snapshot": contracts.dump(snapshot(2, (two,)))})
        assert services.channel.receive() == {"type": "reloaded", "version": 2}
        assert services.get("/api/v1/probe/mark")[2] == b'"two"'
        assert "stop" not in (tmp_path / "one").read_text()
        slow.join()
        assert answers == [b'"done"']
        deadline = time.monotonic() + 5
        while "stop" not in (tmp_path / "one").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "one").read_text().split()[-2:] == ["answer", "stop"]


def test_a_refused_reload_leaves_the_last_good_serving(tmp_path: Path) -> None:
    one = PluginSpec(PROBE.id, PROBE.factory, {"mark": "one", "log": str(tmp_path / "one")})
    bad = PluginSpec(PROBE.id, PROBE.factory, {"mark": "two", "fails": "start", "log": str(tmp_path / "two")})
    with Services(snapshot(plugins=(one,))) as services:
        services.channel.send({"type": "reload", "snapshot": contracts.dump(snapshot(2, (bad,)))})
        assert services.channel.receive() == {
            "type": "refused", "version": 2,
            "error": "plugin 'probe' failed to start: RuntimeError: the dependency is away",
        }  # fmt: skip
        assert services.get("/api/v1/probe/mark")[2] == b'"one"'
        assert (tmp_path / "two").read_text().split()[-1] == "stop"


def test_status_asks_the_supervisor_and_the_plugins() -> None:
    with Services(snapshot(plugins=(PUBLIC, PROBE), routes=ROUTES)) as services:

        def status(answer: dict[str, object]) -> dict[str, object]:
            connection = services.connect()
            connection.request("GET", "/api/v1/public/status")
            question = services.channel.receive()
            assert question is not None
            assert (question["type"], question["what"]) == ("ask", "health")
            services.channel.send({"type": "answer", "id": question["id"], **answer})
            body = json.loads(connection.getresponse().read())
            connection.close()
            assert isinstance(body, dict)
            return body

        good = status({"body": {"edge": "ok", "services": "ok"}})
        assert good["status"] == "ok"
        assert good["version"] == "0.1.0"
        assert good["environment"] == "production"
        assert good["features"] == {**dict.fromkeys(DEFAULT, False), "probe": True, "public": True}
        assert good["layers"] == {"public": "available", "app": "absent", "mcp": "absent", "admin": "absent"}
        assert good["dependencies"] == {"edge": "ok", "services": "ok", "probe": "ok"}
        ill = status({"body": {"edge": "starting", "services": "ok"}})
        assert (ill["status"], ill["dependencies"]) == (
            "degraded",
            {"edge": "starting", "services": "ok", "probe": "ok"},
        )
        assert status({"error": "no"})["dependencies"] == {"edge": "unknown", "services": "ok", "probe": "ok"}


@pytest.mark.parametrize(("says", "shown"), [("down", "down"), ("raise", "unknown"), ("hang", "unknown")])
def test_status_of_a_plugin_that_is_ill(says: str, shown: str) -> None:
    probe = PluginSpec(PROBE.id, PROBE.factory, {"health": says})
    with Services(snapshot(plugins=(PUBLIC, probe))) as services:
        # The supervisor does not answer either: the status comes all the same.
        status, _, body = services.get("/api/v1/public/status")
        assert status == 200
        assert json.loads(body)["status"] == "degraded"
        assert json.loads(body)["dependencies"] == {"edge": "unknown", "services": "ok", "probe": shown}
        assert b"on fire" not in body


def test_the_caller_comes_from_the_edge_s_signed_field() -> None:
    caller = Principal("alice", "key", "acme", ("documents:read",))
    with Services(snapshot(plugins=(PROBE,))) as services:

        def ask(signed: bytes | None, request_id: str = "r-1") -> tuple[int, dict[str, object]]:
            fields = {"X-Request-Id": request_id}
            if signed is not None:
                fields["X-Portico-Principal"] = signed.decode()
            status, _, body = services.get("/api/v1/probe/caller", headers=fields)
            return status, json.loads(body)

        assert ask(None) == (200, {"id": None, "request_id": "r-1", "reads": None})
        good = sign(caller, b"r-1", time.time(), KEY)
        assert ask(good) == (200, {"id": "alice", "request_id": "r-1", "reads": True})
        for bad, request_id in [
            (good, "r-2"),
            (good[:-2] + b"xx", "r-1"),
            (sign(caller, b"r-1", time.time() - 61, KEY), "r-1"),
            (sign(caller, b"r-1", time.time(), bytes(32)), "r-1"),
            (b"", "r-1"),
        ]:
            status, body = ask(bad, request_id)
            assert (status, body["code"], body["request_id"]) == (401, "principal_invalid", request_id)


def test_a_stale_socket_is_replaced_but_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    bind(path).close()
    assert path.exists()
    with bind(path) as sock:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        client.close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert sock.fileno() >= 0
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(PorticoError, match="is not a socket"):
        bind(file)
    assert file.read_text() == "precious"
    with pytest.raises(PorticoError, match="at most 107 bytes"):
        bind(tmp_path / ("x" * 120))
