"""From a file and the installed plugins to a snapshot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from portico.errors import ConfigError, PluginError
from portico.runtime.build import Builder, plugin_states
from portico.runtime.options import UpOptions
from portico.runtime.routes import listing

ROUTES = """\
upstreams: {users: {targets: [http://127.0.0.1:9000]}}
routes:
  - {name: rest, paths: [/*], upstream: users}
  - {name: named, paths: ["/users/{id}"], upstream: users}
  - {name: exact, paths: [/users/me], hosts: ["*.example.com"], upstream: users}
  - {name: host, paths: [/users/*], hosts: [api.example.com], upstream: users}
"""


def _builder(tmp_path: Path, text: str, **options: object) -> Builder:
    (tmp_path / "portico.yaml").write_text(text)
    return Builder(UpOptions(config=tmp_path / "portico.yaml", **options))  # type: ignore[arg-type]


def test_options_override_the_file_at_every_build(tmp_path: Path) -> None:
    builder = _builder(tmp_path, "server: {port: 1000, host: 0.0.0.0}", port=2000, workers=3, data_dir=tmp_path)
    for version in (1, 2):
        snapshot = builder.build(version).snapshot
        assert snapshot.version == version
        assert (snapshot.server.listen[0].host, snapshot.server.listen[0].port) == ("0.0.0.0", 2000)
        assert snapshot.server.workers == 3
        assert snapshot.data_dir == str(tmp_path)


def test_without_a_file_everything_has_its_default() -> None:
    snapshot = Builder(UpOptions()).build(1).snapshot
    assert snapshot.server.listen[0].port == 8771
    assert snapshot.plugins[0].id == "request_id"


def test_what_only_a_restart_can_change_is_refused_with_its_line(tmp_path: Path) -> None:
    builder = _builder(tmp_path, "server: {port: 1000}\n")
    running = builder.build(1)
    (tmp_path / "portico.yaml").write_text(f"server:\n  port: 1001\n  workers: 2\ndata_dir: {tmp_path}\n")
    with pytest.raises(ConfigError) as caught:
        builder.must_fit(running, builder.build(2))
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 3
    assert any(
        "portico.yaml:3: server.workers: the number of workers can't change in a running gateway" in each
        for each in told
    )
    assert any("portico.yaml:4: data_dir: " in each for each in told)


def test_the_same_file_fits(tmp_path: Path) -> None:
    builder = _builder(tmp_path, ROUTES)
    builder.must_fit(builder.build(1), builder.build(2))


def test_an_unknown_plugin_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="plugin 'limts' is not installed; did you mean 'limits'"):
        _builder(tmp_path, "plugins: {limts: {}}").build(1)


def test_a_plugin_that_takes_no_configuration_refuses_one_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"portico\.yaml:3: plugins\.public\.colour: "):
        _builder(tmp_path, "plugins:\n  public:\n    colour: red\n").build(1)


def test_a_plugin_that_is_off_is_not_started_and_its_paths_are_gone(tmp_path: Path) -> None:
    builder = _builder(tmp_path, "plugins: {public: {enabled: false}}")
    snapshot = builder.build(1).snapshot
    assert "public" not in [plugin.id for plugin in snapshot.plugins]
    assert not [route for route in snapshot.routes if route.source == "public"]
    states = {state.id: state for state in plugin_states(builder.settings())}
    assert (states["public"].state, states["public"].reason) == ("off", "enabled: false")
    assert (states["limits"].state, states["limits"].role) == ("on", "edge")


def test_routes_are_listed_in_matching_precedence(tmp_path: Path) -> None:
    rows = listing(_builder(tmp_path, ROUTES).build(1).snapshot)
    ours = [row["route"] for row in rows if row["source"] == "file"]
    assert ours == ["host", "exact", "named", "rest"]
    names = [row["route"] for row in rows]
    assert names.index("portico.metrics") < names.index("rest")


def test_making_a_snapshot_loads_nothing_that_the_supervisor_does_not_need() -> None:
    program = (
        "import sys\n"
        "import portico.runtime.supervisor\n"
        "from portico.runtime.build import Builder\n"
        "from portico.runtime.options import UpOptions\n"
        "Builder(UpOptions()).build(1)\n"
        "heavy = {'rich', 'fastapi', 'uvicorn', 'prometheus_client', 'sqlalchemy', 'aiohttp', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_services_processes_that_do_not_share_their_state_are_warned_of(tmp_path: Path) -> None:
    several = "server: {services: {processes: 3}}\n"
    told = "state.url: memory:// is kept by each of the 3 services processes for itself; redis:// is shared"
    assert told in _builder(tmp_path, several).build(1).warnings
    assert not _builder(tmp_path, several + "state: {url: 'redis://127.0.0.1:6379/0'}\n").build(1).warnings
    assert not _builder(tmp_path, "server: {services: {processes: 1}}\n").build(1).warnings
