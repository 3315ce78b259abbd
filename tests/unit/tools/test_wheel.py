"""The wheel: it holds the hot modules compiled, and what is installed from it runs them."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import compile as builder

ROOT = builder.ROOT
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


def build(folder: Path, compiled: str) -> Path:
    """The wheel that pip builds of a copy of this checkout, with the tools of this environment."""
    copy = folder / "checkout"
    copy.mkdir()
    for name in ("src", "tools"):
        unwanted = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    environment = {**os.environ, "PORTICO_COMPILED": compiled}
    subprocess.run([*command, str(copy)], check=True, env=environment, cwd=folder)
    return next(folder.glob("portico-*.whl"))


def installed_version(wheel: Path, folder: Path) -> dict[str, object]:
    """What `portico version --json` says in a new environment; the dependencies are those of this one."""
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*command, str(wheel)], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PORTICO_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(site), sysconfig.get_path("purelib")])
    done = subprocess.run(
        [str(folder / "bin" / "python"), "-m", "portico", "version", "--json"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.skipif(bool(builder.obstacle()), reason=builder.obstacle())
def test_a_wheel_holds_and_runs_compiled_modules(tmp_path: Path) -> None:
    wheel = build(tmp_path, "1")
    assert sysconfig.get_platform().split("-")[0] in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("portico/_compiled/manifest.json"))
    assert sorted(manifest["modules"]) == builder.hot_modules(ROOT)
    files = [entry["file"] for entry in manifest["modules"].values()] + list(manifest["libraries"].values())
    assert {f"portico/_compiled/{file}" for file in files} == {name for name in names if name.endswith(".so")}
    assert {"portico/py.typed", "portico/edge/exchange.py"} <= names
    assert any(name.endswith("LICENSE") for name in names)
    assert installed_version(wheel, tmp_path / "installed")["compiled"] is True


def test_a_pure_wheel_runs_interpreted(tmp_path: Path) -> None:
    wheel = build(tmp_path, "0")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so") or "_compiled" in name]
    assert installed_version(wheel, tmp_path / "installed")["compiled"] is False
