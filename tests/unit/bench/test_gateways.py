"""The configurations that the benchmark writes are ones that the products take."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gateways import MAKERS, Shape, certificate, fill, keys_of, registered
from peers import envoy
from portico.config import load_file

SHAPES = [Shape(policies=False), Shape(), Shape(routes=3), Shape(tls=True), Shape(workers=4, redis=6379)]
NAMES = ["bare", "policies", "routes", "tls", "workers"]
CHECK = {"nginx": ["-t"], "haproxy": ["-c"], "caddy": [], "envoy": ["--mode", "validate"]}


def test_a_filled_template_keeps_the_indentation_of_its_place() -> None:
    text = fill("haproxy.cfg", port=1, upstream=2, tls="", policies="one\ntwo")
    assert "  bind 127.0.0.1:1 backlog 4096\n  one\n  two\n  default_backend users\n" in text
    assert "<<" not in text


def installed(name: str) -> bool:
    return (envoy() if name == "envoy" else shutil.which(name)) is not None


# Peers are for `make bench` alone: where one is missing there is no file of its to be checked.
INSTALLED = [name for name in ("nginx", "haproxy", "envoy") if installed(name)]


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_portico_takes_its_file(shape: Shape, tmp_path: Path) -> None:
    server = MAKERS["portico compiled"](tmp_path, 1, shape)
    settings = load_file(Path(server.command[-1]))
    assert [route.name for route in settings.routes] == [f"r{n}" for n in range(shape.routes or 1)]
    assert len(settings.keys) == len(keys_of())


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
@pytest.mark.parametrize("name", INSTALLED)
def test_a_peer_takes_its_file(name: str, shape: Shape, tmp_path: Path) -> None:
    certificate(tmp_path)
    server = MAKERS[name](tmp_path, 1, shape)
    command = server.command[3:]  # without taskset
    ran = subprocess.run(
        [*command, *CHECK[name]], capture_output=True, text=True, timeout=20, cwd=tmp_path, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_plugin_is_found_where_it_was_registered(tmp_path: Path) -> None:
    from importlib.metadata import distributions

    found = [point for dist in distributions(path=[str(registered(tmp_path))]) for point in dist.entry_points]
    assert [(point.group, point.name, point.value) for point in found] == [
        ("portico.plugins", "bench_burn", "bench_burn:Burn")
    ]
