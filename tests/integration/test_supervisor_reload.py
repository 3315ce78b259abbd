"""Reloading: a good file is taken by everyone, a bad one by nobody."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from portico.errors import ConfigError, ControlError
from portico.testing import FakeUpstream, GatewayHarness, wait_for

MOODY = """
from portico.contracts import ADMIT
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType, PolicySpec

def build(config, context):
    raise ValueError("not in the mood")

class Plugin(BasePlugin):
    info = PluginInfo("moody", PluginType.MIDDLEWARE)
    def policies(self):
        return [PolicySpec("moody", ADMIT, 100, "portico_moody:build")]
"""

FAILING = """
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

class Plugin(BasePlugin):
    info = PluginInfo("moody", PluginType.BUSINESS)
    mounts = ()
    def router(self):
        from fastapi import APIRouter
        return APIRouter()
    async def start(self):
        raise RuntimeError("no luck today")
"""


def install(folder: Path, name: str, source: str) -> None:
    """Lay down a plugin as pip would: a module and its entry point."""
    (folder / f"portico_{name}.py").write_text(source)
    info = folder / f"portico_{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: portico-{name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[portico.plugins]\n{name} = portico_{name}:Plugin\n")


def config(upstream: FakeUpstream, *paths: str, **more: Any) -> dict[str, Any]:
    return {
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [{"name": f"r{number}", "paths": [path], "upstream": "users"} for number, path in enumerate(paths)],
        **more,
    }


def reloads(gateway: GatewayHarness) -> dict[str, int]:
    text = gateway.request("GET", "/metrics").body.decode()
    found = re.findall(r'portico_config_reloads_total\{result="(\w+)"\} (\S+)', text)
    return {result: int(float(count)) for result, count in found}


def test_a_good_file_is_taken() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, "/old/*")) as gateway:
        assert gateway.request("GET", "/new/1").status == 404
        gateway.rewrite(config(upstream, "/new/*"))
        assert gateway.reload() == {"version": 2, "warnings": []}
        assert gateway.request("GET", "/new/1").status == 200
        assert gateway.request("GET", "/old/1").status == 404
        status = gateway.status()
        assert status["config"]["version"] == 2
        assert status["config"]["reloads"] == {"ok": 1, "failed": 0}
        assert {process["version"] for process in status["processes"]} == {2}


def test_a_bad_file_is_refused_whole_and_the_last_good_one_goes_on() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, "/old/*")) as gateway:
        gateway.rewrite(
            "upstreams: {}\nroutes:\n  - {name: new, paths: [/new/*], upstream: nowhere}\nserver: {prot: 1}\n"
        )
        with pytest.raises(ConfigError) as caught:
            gateway.reload()
        assert len(caught.value.problems) == 2
        assert {problem.line for problem in caught.value.problems} == {3, 4}
        assert gateway.request("GET", "/old/1").status == 200
        assert gateway.request("GET", "/new/1").status == 404
        status = gateway.status()["config"]
        assert status["version"] == 1
        assert "portico.yaml:4: server.prot: " in status["last_error"]
        assert "the reload was refused; the last good configuration stays" in gateway.output()
        gateway.rewrite(config(upstream, "/new/*"))
        gateway.reload()
        assert gateway.status()["config"]["last_error"] is None
        assert gateway.request("GET", "/new/1").status == 200


def test_sighup_reloads_and_the_metric_counts_both_kinds() -> None:
    with FakeUpstream() as upstream, GatewayHarness(args=("--demo",)) as gateway:
        assert reloads(gateway) == {"ok": 0, "failed": 0}
        gateway.config_path.write_text("nonsense: [")
        gateway.signal(signal.SIGHUP)
        wait_for(lambda: reloads(gateway) == {"ok": 0, "failed": 1})
        assert gateway.request("GET", "/echo/1").status == 200
        told = config(upstream, "/new/*")
        gateway.config_path.write_text(
            f"upstreams: {{users: {{targets: ['{upstream.url}']}}}}\nroutes: {told['routes']}\n"
        )
        gateway.signal(signal.SIGHUP)
        wait_for(lambda: gateway.request("GET", "/new/1").status == 200)
        wait_for(lambda: reloads(gateway) == {"ok": 1, "failed": 1})  # the edge serves it before all have taken it


def test_what_needs_a_restart_is_refused_with_a_sentence() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, "/old/*")) as gateway:
        gateway.rewrite(config(upstream, "/new/*", server={"workers": 2}))
        with pytest.raises(ConfigError, match="the number of workers can't change in a running gateway"):
            gateway.reload()
        gateway.rewrite(config(upstream, "/new/*", storage={"url": "sqlite:///other.db"}))
        with pytest.raises(ConfigError, match="the database can't change in a running gateway"):
            gateway.reload()
        gateway.rewrite(config(upstream, "/new/*", state={"url": "redis://127.0.0.1:1/0"}))
        with pytest.raises(ConfigError, match="the shared state can't change in a running gateway"):
            gateway.reload()
        assert gateway.request("GET", "/old/1").status == 200


def test_what_one_child_refuses_none_keeps(tmp_path: Path) -> None:
    """Only the edge finds out that a policy's factory fails: by then the services have taken the new version."""
    install(tmp_path, "moody", MOODY)
    with (
        FakeUpstream() as upstream,
        GatewayHarness(
            {**config(upstream, "/old/*"), "plugins": {"moody": {}}}, env={"PYTHONPATH": str(tmp_path)}
        ) as gateway,
    ):
        told = config(upstream, "/new/*", plugins={"moody": {}})
        told["routes"][0]["policies"] = {"moody": {}}
        gateway.rewrite(told)
        with pytest.raises(ControlError, match=r"edge 0 refused it: .*not in the mood"):
            gateway.reload()
        assert gateway.request("GET", "/old/1").status == 200
        assert gateway.request("GET", "/new/1").status == 404
        wait_for(lambda: {process["version"] for process in gateway.status()["processes"]} == {3})
        del told["routes"][0]["policies"]
        gateway.rewrite(told)
        assert gateway.reload()["version"] == 4
        assert gateway.request("GET", "/new/1").status == 200


def test_a_child_that_dies_comes_back_with_the_newest_configuration() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, "/old/*")) as gateway:
        gateway.rewrite(config(upstream, "/new/*"))
        gateway.reload()
        os.kill(gateway.status()["processes"][0]["pid"], signal.SIGKILL)
        wait_for(lambda: gateway.request("GET", "/new/1").status == 200)
        assert gateway.request("GET", "/old/1").status == 404


def test_no_request_fails_while_reloading() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, "/same/*", "/a/*")) as gateway:
        failed: list[object] = []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                try:
                    answer = gateway.request("GET", "/same/1")
                    if answer.status != 200:
                        failed.append(answer)
                except OSError as error:
                    failed.append(error)

        thread = threading.Thread(target=load, daemon=True)
        thread.start()
        for number in range(5):
            gateway.rewrite(config(upstream, "/same/*", f"/b{number}/*"))
            gateway.reload()
        stop.set()
        thread.join()
        assert failed == []
        assert gateway.request("GET", "/b4/1").status == 200


def test_a_plugin_that_fails_to_start_stops_the_start_with_its_name_and_cause(tmp_path: Path) -> None:
    install(tmp_path, "moody", FAILING)
    file = tmp_path / "portico.yaml"
    file.write_text("plugins: {moody: {}}\n")
    with GatewayHarness(wait=False, env={"PYTHONPATH": str(tmp_path)}) as gateway:
        gateway.stop()
        failed = gateway.cli("up", "-c", str(file), "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert failed.returncode == 1
    assert "plugin 'moody' failed to start: RuntimeError: no luck today" in failed.stderr
    assert not (tmp_path / "data" / "portico.pid").exists()
