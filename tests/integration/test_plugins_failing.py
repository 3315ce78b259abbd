"""One plugin that fails: the whole start stops, with its name and cause, and what had started is stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.testing import FakeUpstream, GatewayHarness

PLUGIN = """
from portico.contracts import ADMIT, Mount
from portico.kernel import BasePlugin, PluginInfo, PluginType, PolicySpec

def note(config, text):
    with open(config["log"], "a") as file:
        file.write(text + "\\n")

class Steady(BasePlugin[dict]):
    info = PluginInfo("steady", PluginType.{band}, summary="for tests")
    config_model = "failing_settings:Settings"
    {capability}
    async def start(self):
        note(self.config, "steady started")

    async def stop(self):
        note(self.config, "steady stopped")

class Shaky(BasePlugin[dict]):
    info = PluginInfo("shaky", PluginType.{band}, requires=("steady",), summary="for tests")
    config_model = "failing_settings:Settings"
    {capability}
    async def start(self):
        note(self.config, "shaky began")
        if self.config["fails"]:
            raise RuntimeError("the licence has run out")

    async def stop(self):
        note(self.config, "shaky stopped")
"""
SETTINGS = """
from pydantic import BaseModel, ConfigDict

class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    log: str
    fails: bool = False
"""
EDGE = """
    def policies(self):
        return [PolicySpec(self.info.id, ADMIT, 60, "portico.edge.policies.request_id:build")]
"""
SERVICES = """
    mounts = ()

    def router(self):
        from fastapi import APIRouter
        return APIRouter()
"""


LONG = pytest.param("services", marks=pytest.mark.long)  # where nothing of it depends on which half a plugin is of


@pytest.fixture(params=["edge", "services"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    edge = request.param == "edge"
    info = tmp_path / "failing_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing-plugins\nVersion: 1.0\n")
    points = "steady = failing_plugins:Steady\nshaky = failing_plugins:Shaky\nbroken = failing_plugins_gone:Broken\n"
    (info / "entry_points.txt").write_text(f"[portico.plugins]\n{points}")
    source = PLUGIN.replace("{band}", "SECURITY" if edge else "BUSINESS").replace(
        "{capability}", EDGE if edge else SERVICES
    )
    (tmp_path / "failing_plugins.py").write_text(source)
    (tmp_path / "failing_settings.py").write_text(SETTINGS)
    return tmp_path


def config(site: Path, upstream: str, **plugins: object) -> dict[str, object]:
    log = str(site / "log")
    return {
        "upstreams": {"users": {"targets": [upstream]}},
        "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users"}],
        "plugins": {name: {"log": log, "fails": fails} for name, fails in plugins.items()},
    }


def test_the_start_stops_and_names_the_plugin_and_its_cause(site: Path) -> None:
    settings = config(site, "http://127.0.0.1:9", steady=False, shaky=True)
    with GatewayHarness(settings, env={"PYTHONPATH": str(site)}, wait=False) as gateway:
        assert gateway.process is not None
        assert gateway.process.wait(20) != 0
        assert "plugin 'shaky' failed to start: RuntimeError: the licence has run out" in gateway.output()
    log = (site / "log").read_text().splitlines()
    assert log[:4] == ["steady started", "shaky began", "shaky stopped", "steady stopped"]


@pytest.mark.parametrize("site", ["edge", LONG], indirect=True)
@pytest.mark.parametrize(
    ("plugins", "sentence"),
    [
        ({"shaky": {"log": "x"}}, "plugin 'shaky' requires 'steady', which is not among the plugins to start"),
        ({"steadi": {}}, "plugin 'steadi' is not installed; did you mean 'steady'?"),
        ({"broken": {}}, "plugin 'broken': failing_plugins_gone:Broken can't be imported: ModuleNotFoundError"),
    ],
)
def test_what_can_t_be_found_or_ordered_is_refused_before_anything_starts(
    site: Path, tmp_path: Path, plugins: dict[str, object], sentence: str
) -> None:
    with GatewayHarness({"plugins": plugins}, env={"PYTHONPATH": str(site)}, wait=False) as gateway:
        assert gateway.process is not None
        assert gateway.process.wait(20) != 0
        assert sentence in gateway.output()
        check = gateway.cli("check", str(gateway.config_path))
        assert check.returncode != 0
        assert sentence in check.stderr + check.stdout


def test_a_reload_that_brings_a_failing_plugin_is_refused_and_traffic_flows_on(site: Path) -> None:
    with FakeUpstream() as users:
        good = config(site, users.url, steady=False)
        with GatewayHarness(good, env={"PYTHONPATH": str(site)}) as gateway:
            assert gateway.request("GET", "/users/1").status == 200
            gateway.rewrite(config(site, users.url, steady=False, shaky=True))
            done = gateway.cli("reload", "-c", str(gateway.config_path))
            assert done.returncode != 0
            assert gateway.request("GET", "/users/1").status == 200
            assert gateway.request("GET", "/api/v1/public/status").status == 200


def test_stopping_the_gateway_stops_the_plugins_in_reverse(site: Path) -> None:
    settings = config(site, "http://127.0.0.1:9", steady=False, shaky=False)
    with GatewayHarness(settings, env={"PYTHONPATH": str(site)}) as gateway:
        assert gateway.request("GET", "/health").status == 200
        gateway.stop()
    assert (site / "log").read_text().splitlines() == [
        "steady started", "shaky began", "shaky stopped", "steady stopped",
    ]  # fmt: skip


@pytest.mark.parametrize("site", ["edge", LONG], indirect=True)
def test_plugins_that_are_not_asked_for_are_not_imported(site: Path) -> None:
    (site / "failing_plugins.py").write_text("raise SystemExit('imported')")
    with GatewayHarness({}, env={"PYTHONPATH": str(site)}) as gateway:
        assert gateway.request("GET", "/health").status == 200
