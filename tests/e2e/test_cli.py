"""The command line as a person or a script uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from portico.cli import exits
from portico.testing import FakeUpstream, GatewayHarness, free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
BAD = "server:\n  prot: 1\nroutes:\n  - {name: a, paths: [/a], upstream: nowhere}\n"
KEYS = {
    "status": {"state", "version", "pid", "uptime", "compiled", "config", "listeners", "processes", "data_dir", "logs"},
    "routes": {"routes"},
    "plugins": {"plugins"},
    "schema": {"$schema", "properties", "additionalProperties"},
    "version": {"version", "python", "compiled", "reason"},
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayHarness]:
    with FakeUpstream() as upstream:
        config = {
            "upstreams": {"users": {"targets": [upstream.url]}},
            "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users"}],
        }
        with GatewayHarness(config) as made:
            yield made


@pytest.fixture(scope="module")
def demo() -> Iterator[GatewayHarness]:
    with GatewayHarness(args=("--demo",)) as made:
        yield made


def portico(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "portico", *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=cwd, env={**os.environ, **env}, check=False
    )


@pytest.mark.parametrize("command", list(KEYS))
def test_every_command_answers_as_text_and_as_json(gateway: GatewayHarness, command: str) -> None:
    options = ["-c", str(gateway.config_path)] if command in ("status", "routes", "plugins") else []
    text = gateway.cli(command, *options)
    assert text.returncode == exits.OK, text.stderr
    assert text.stdout.strip()
    document = gateway.cli(command, *options, "--json")
    assert document.returncode == exits.OK, document.stderr
    assert KEYS[command] <= set(json.loads(document.stdout))


def test_a_running_gateway_is_found_by_file_by_directory_and_from_where_the_file_lies(gateway: GatewayHarness) -> None:
    for where in (["-c", str(gateway.config_path)], ["--data-dir", str(gateway.data_dir)], []):
        found = gateway.cli("status", "--json", *where)
        assert json.loads(found.stdout)["pid"] == gateway.pid, found.stderr


def test_status_tells_of_every_process(gateway: GatewayHarness) -> None:
    gateway.request("GET", "/users/1")
    wait_for(lambda: gateway.status()["processes"][0]["requests"] >= 1)
    processes = json.loads(gateway.cli("status", "--json").stdout)["processes"]
    assert [(each["role"], each["index"], each["state"]) for each in processes] == [
        ("edge", 0, "ready"),
        ("services", 0, "ready"),
    ]
    for each in processes:
        assert each["pid"] > 1
        assert each["rss"] > 10_000_000
        assert each["age"] > 0
        assert each["restarts"] == 0
    text = gateway.cli("status").stdout
    assert re.search(r"^edge 0 +\d+ +ready", text, re.MULTILINE)
    assert gateway.url in text


def test_reload_from_the_command_line(gateway: GatewayHarness) -> None:
    good = gateway.config_path.read_text()
    before = gateway.status()["config"]["version"]
    try:
        done = gateway.cli("reload", "--json")
        assert json.loads(done.stdout)["version"] == before + 1
        gateway.config_path.write_text(BAD)
        refused = gateway.cli("reload")
        assert refused.returncode == exits.CONFIG
        assert re.search(r"portico\.yaml:2: server\.prot: .*port", refused.stderr)
        assert re.search(r"portico\.yaml:4: routes\[0\]\.upstream: ", refused.stderr)
        assert json.loads(gateway.cli("reload", "--json").stdout)["code"] == exits.CONFIG
        shown = gateway.cli("status")
        assert shown.returncode == exits.OK, "a broken file must not hide the gateway that runs on it"
        assert "the last reload was refused" in shown.stdout
        assert gateway.request("GET", "/users/1").status == 200
    finally:
        gateway.config_path.write_text(good)
        gateway.reload()


def test_check(tmp_path: Path) -> None:
    (tmp_path / "portico.yaml").write_text("upstreams: {a: {targets: [http://127.0.0.1:1]}}\n")
    right = portico("check", cwd=tmp_path)
    assert (right.returncode, right.stderr) == (exits.OK, "")
    (tmp_path / "bad.yaml").write_text(BAD)
    wrong = portico("check", "bad.yaml", cwd=tmp_path)
    assert wrong.returncode == exits.CONFIG
    assert wrong.stdout == ""
    lines = wrong.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines[:-1]] == [
        ["bad.yaml:2", "server.prot"],
        ["bad.yaml:4", "routes[0].upstream"],
    ]
    assert lines[-1].startswith("hint: ")
    told = json.loads(portico("check", "bad.yaml", "--json", cwd=tmp_path).stdout)
    assert [problem["line"] for problem in told["problems"]] == [2, 4]
    missing = portico("check", "none.yaml", cwd=tmp_path)
    assert missing.returncode == exits.CONFIG
    assert "none.yaml" in missing.stderr


def test_check_shows_what_takes_a_path_of_ours(tmp_path: Path) -> None:
    (tmp_path / "portico.yaml").write_text(
        "upstreams: {a: {targets: [http://127.0.0.1:1]}}\nroutes: [{name: docs, paths: [/docs], upstream: a}]\n"
    )
    told = json.loads(portico("check", "--json", cwd=tmp_path).stdout)
    assert told["ok"] is True
    assert any("/docs" in warning for warning in told["warnings"])


def test_routes_are_in_matching_order_and_show_ours(gateway: GatewayHarness) -> None:
    routes = json.loads(gateway.cli("routes", "-c", str(gateway.config_path), "--json").stdout)["routes"]
    by_path = {route["path"]: route for route in routes}
    assert by_path["/users/*"]["source"] == "file"
    assert by_path["/metrics"]["policies"][-3:] == ["auth", "require", "key_limits"]
    assert by_path["/api/v1/public/status"]["source"] == "public"


def test_plugins_are_in_order_with_role_and_reason(tmp_path: Path) -> None:
    (tmp_path / "portico.yaml").write_text("plugins: {public: {enabled: false}, limits: {}}\n")
    plugins = json.loads(portico("plugins", "--json", cwd=tmp_path).stdout)["plugins"]
    shown = {plugin["id"]: plugin for plugin in plugins}
    bands = ["INFRASTRUCTURE", "SECURITY", "MIDDLEWARE", "BUSINESS"]
    order = [bands.index(plugin["type"]) for plugin in plugins if plugin["state"] == "on"]
    assert order == sorted(order)
    assert (shown["public"]["state"], shown["public"]["reason"]) == ("off", "enabled: false")
    assert (shown["limits"]["role"], shown["limits"]["reason"]) == ("edge", "named in the configuration")
    assert shown["request_id"]["reason"] == "started by default"


def test_the_schema_accepts_the_demo_and_refuses_an_unknown_key(demo: GatewayHarness, tmp_path: Path) -> None:
    schema = json.loads(portico("schema", cwd=tmp_path).stdout)
    example: dict[str, Any] = yaml.safe_load(demo.config_path.read_text())
    jsonschema.validate(example, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**example, "serve": {}}, schema)


def test_version_says_whether_the_edge_is_compiled(tmp_path: Path) -> None:
    told = json.loads(portico("version", "--json", cwd=tmp_path, PORTICO_COMPILED="0").stdout)
    assert told["compiled"] is False
    assert "PORTICO_COMPILED=0" in told["reason"]


def test_version_loads_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import atexit, sys\n"
        "heavy = {'yaml', 'fastapi', 'uvloop', 'asyncio', 'rich', 'structlog'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules))))\n"
        "sys.argv = ['portico', 'version']\n"
        "from portico.cli import main\nmain()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == "[]"


def test_up_loads_neither_rich_nor_fastapi(tmp_path: Path) -> None:
    program = (
        "import atexit, sys\n"
        "heavy = {'rich', 'fastapi', 'uvicorn', 'starlette', 'uvloop', 'sqlalchemy', 'aiohttp'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), flush=True))\n"
        f"sys.argv = ['portico', 'up', '--port', '0', '--data-dir', {str(tmp_path / 'data')!r}]\n"
        "from portico.cli import main\nmain()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    assert "is ready" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert output.splitlines()[-1] == "[]"
    assert process.returncode == 0


@pytest.mark.parametrize(
    "args",
    [
        ["up", "--port", "65536"],
        ["up", "--role", "nobody"],
        ["up", "--demo", "-c", "portico.yaml"],
        ["up", "--colour"],
        ["nonsense"],
    ],
)
def test_a_wrong_command_line_is_2(tmp_path: Path, args: list[str]) -> None:
    result = portico(*args, cwd=tmp_path)
    assert result.returncode == exits.USAGE
    assert "Error" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["status", "reload", "down"])
def test_not_running_is_4(tmp_path: Path, command: str) -> None:
    result = portico(command, "--data-dir", str(tmp_path), cwd=tmp_path)
    assert result.returncode == exits.NOT_RUNNING
    assert result.stderr.startswith(f"portico: no gateway is running on {tmp_path}\nhint: ")
    told = json.loads(portico(command, "--data-dir", str(tmp_path), "--json", cwd=tmp_path).stdout)
    assert told["code"] == exits.NOT_RUNNING


def test_up_with_a_wrong_file_is_3_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "portico.yaml").write_text(BAD)
    for extra in ([], ["--detach"]):
        result = portico("up", "--data-dir", str(tmp_path / "data"), *extra, cwd=tmp_path)
        assert result.returncode == exits.CONFIG
        assert "portico.yaml:2: server.prot: " in result.stderr
        assert not (tmp_path / "data").exists()


def test_the_exit_codes_are_documented() -> None:
    text = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert documented == {value for name, value in vars(exits).items() if name.isupper()}


def test_output_cut_off_by_a_pipe_is_no_traceback(gateway: GatewayHarness) -> None:
    command = f"{sys.executable} -m portico routes | head -n 0"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=gateway.directory, check=False)
    assert "Traceback" not in result.stderr


def test_up_as_json_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "portico", "up", "--json", "--port", "0", "--data-dir", str(tmp_path / "data")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert told["pid"] == process.pid
    assert told["ready_after"] > 0
    assert told["listeners"][0].startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=20)
    assert rest == ""
    assert process.returncode == 0


def test_detach_returns_when_ready_and_down_stops_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    port = free_port()
    started = portico("up", "--detach", "--port", str(port), "--data-dir", str(data), "--json", cwd=tmp_path)
    assert started.returncode == exits.OK, started.stderr
    told = json.loads(started.stdout)
    try:
        assert told["state"] == "ready"
        assert told["listeners"] == [f"http://127.0.0.1:{port}"]
        assert os.getsid(told["pid"]) == told["pid"] != os.getsid(0)
        assert "is ready" in (data / "logs" / "portico.log").read_text()
        again = portico("up", "--detach", "--port", "0", "--data-dir", str(data), cwd=tmp_path)
        assert again.returncode == exits.ALREADY_RUNNING
        assert f"process {told['pid']} already runs a gateway" in again.stderr
    finally:
        stopped = portico("down", "--data-dir", str(data), cwd=tmp_path)
    assert stopped.stdout == f"stopped process {told['pid']}\n"
    assert "  services  ready after" in (data / "logs" / "portico.log").read_text()
    assert portico("status", "--data-dir", str(data), cwd=tmp_path).returncode == exits.NOT_RUNNING


def test_detach_tells_why_it_failed(tmp_path: Path, gateway: GatewayHarness) -> None:
    taken = str(gateway.port)
    failed = portico("up", "--detach", "--port", taken, "--data-dir", str(tmp_path / "data"), cwd=tmp_path)
    assert failed.returncode == exits.FAILURE
    assert f"127.0.0.1:{taken} is in use by another process" in failed.stderr


def _lines_to_paste(demo: GatewayHarness) -> list[str]:
    return [line.strip() for line in demo.output().splitlines() if line.startswith("    ")]


def test_the_demo_says_in_under_20_lines_what_to_try(demo: GatewayHarness) -> None:
    assert len(demo.output().splitlines()) < 20
    assert demo.url in demo.output()
    assert str(demo.data_dir / "logs") in demo.output()
    assert len(_lines_to_paste(demo)) == 5


def test_the_demo_lines_work_when_pasted(demo: GatewayHarness) -> None:
    def paste(line: str) -> str:
        result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20, check=False)
        assert result.returncode == 0, (line, result.stderr)
        return result.stdout

    echo, secure, limited, stream, metrics = _lines_to_paste(demo)
    assert '"path": "/echo/hello"' in paste(echo)
    assert "200 OK" in paste(secure)
    assert re.sub("X-API-Key: [^']*", "X-API-Key: wrong", secure) != secure
    assert "401 Unauthorized" in paste(re.sub("X-API-Key: [^']*", "X-API-Key: wrong", secure))
    assert paste(limited).split() == ["200"] * 5 + ["429"]
    began = time.monotonic()
    assert paste(stream).count("event: tick") == 10
    assert 1.5 < time.monotonic() - began < 8
    assert "portico_requests_total" in paste(metrics)


def test_the_demo_streams_as_it_comes(demo: GatewayHarness) -> None:
    began = time.monotonic()
    with demo.connect() as sock:
        sock.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"event: tick" not in received:
            received += sock.recv(4096)
    assert time.monotonic() - began < 1.0


def test_a_start_says_where_the_administrator_s_key_is_until_it_is_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ("up", "--detach", "--port", "0", "--data-dir", str(data))
    line = f"  admin    API key in {data / 'gateway_token'}; others: `portico keys create`"
    for removed in (False, True):
        if removed:
            (data / "gateway_token").unlink()
        try:
            started = portico(*arguments, cwd=tmp_path)
            assert started.returncode == exits.OK, started.stderr
            assert (line in started.stdout.splitlines()) is not removed
        finally:
            portico("down", "--data-dir", str(data), cwd=tmp_path)


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_a_vault_that_does_not_open_is_one_sentence_and_no_administrator(
    tmp_path: Path, detach: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    made = portico("keys", "create", "--name", "first", "--data-dir", str(data), cwd=tmp_path)
    assert made.returncode == exits.OK, made.stderr
    passphrase = "correct horse battery"
    started = portico(
        "up", "--port", "0", "--data-dir", str(data), *detach, cwd=tmp_path, PORTICO_PASSPHRASE=passphrase
    )
    assert started.returncode == exits.FAILURE
    assert started.stderr.splitlines()[-1] == (
        "portico: plugin 'storage' failed to initialize: this vault is opened by its key file, not by a passphrase: "
        "unset PORTICO_PASSPHRASE, or change over with `portico vault change-passphrase`"
    )
    assert len(started.stderr.splitlines()) == 1 or not detach
    assert "gateway_token" not in started.stdout
    assert "services  ready" not in started.stdout


def test_the_demo_key_is_on_the_screen_only(demo: GatewayHarness) -> None:
    key = re.search(r"pk_demo_[\w-]+", demo.output())
    assert key is not None
    for file in demo.data_dir.rglob("*"):
        if file.is_file():
            assert key[0].encode() not in file.read_bytes(), file
    assert (demo.data_dir / "demo.yaml").stat().st_mode & 0o777 == 0o600
    assert key[0] not in json.dumps(demo.status())


def test_the_demo_file_is_a_configuration_of_its_own(demo: GatewayHarness) -> None:
    assert demo.cli("check", str(demo.config_path)).returncode == exits.OK


def test_the_demo_upstream_is_replaced_when_it_dies(demo: GatewayHarness) -> None:
    def echo() -> dict[str, Any]:
        return next(dict(each) for each in demo.status()["processes"] if each["role"] == "echo")

    first = echo()["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: echo()["state"] == "ready" and echo()["pid"] != first)
    assert demo.request("GET", "/echo/again").json()["path"] == "/echo/again"
