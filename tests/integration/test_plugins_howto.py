"""docs/how-to/write-a-plugin.md, done as it says: its files written, installed, configured, tried and tested."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from portico.testing import FakeUpstream, GatewayHarness, conformance

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "write-a-plugin.md"
BLOCK = re.compile(r"^```(\w+)?(?: ([\w./]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEXT = PAGE.read_text()
FILES = {name: body for _, name, body in BLOCK.findall(TEXT) if name}
COMMANDS = [body for language, _, body in BLOCK.findall(TEXT) if language == "console"]


@dataclass(frozen=True)
class Reader:
    """The folder that a reader of the page has made, and where the plugins were installed."""

    folder: Path
    site: Path

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.site)}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("hello")
    site = tmp_path_factory.mktemp("site")
    for name, body in {**FILES, "hello_portico/__init__.py": ""}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(body)
    # Not -e: the environment that the tests run in must stay as it is.
    options = "--quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation --target"
    install = [sys.executable, "-m", "pip", "install", *options.split(), str(site), "."]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return Reader(folder, site)


@pytest.fixture(scope="module")
def shop() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(reader: Reader, shop: FakeUpstream) -> Iterator[GatewayHarness]:
    config = FILES["portico.yaml"].replace("127.0.0.1:9000", f"127.0.0.1:{shop.port}")
    with GatewayHarness(config, env={"PYTHONPATH": str(reader.site)}) as running:
        yield running


def test_the_page_has_every_file_that_its_tree_shows() -> None:
    tree = TEXT.partition("```\nhello/\n")[2].partition("```")[0]
    shown = re.findall(r"(\w+\.\w+)", tree)
    assert sorted(Path(name).name for name in FILES) == sorted(set(shown) - {"__init__.py"})


def steps() -> list[tuple[str, str]]:
    """The page's commands, each with what it shows as their output."""
    found: list[tuple[str, str]] = []
    for part in re.split(r"^\$ ", "\n".join(COMMANDS), flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        found.append((command, output.strip()))
    return found


def test_every_command_of_the_page_answers_what_the_page_says(gateway: GatewayHarness) -> None:
    commands = steps()
    assert len(commands) >= 6
    for command, output in commands:
        line = command.replace("127.0.0.1:8771", f"127.0.0.1:{gateway.port}")
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20)
        assert done.stdout.strip() == output, command


def test_the_key_s_hash_is_of_the_key() -> None:
    line = re.search(r"`(printf [^`]+sha256sum)`", TEXT)
    assert line is not None
    done = subprocess.run(["bash", "-c", line[1]], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] in FILES["portico.yaml"]
    assert line[1].split()[2] in "".join(COMMANDS)


def test_the_commands_about_plugins_know_both(gateway: GatewayHarness) -> None:
    check = gateway.cli("check", str(gateway.config_path))
    assert check.returncode == 0, check.stderr
    plugins = gateway.cli("plugins", "-c", str(gateway.config_path)).stdout
    ids = re.findall(r"^\W*\d+\s+(agents|notes|access|limits)\b", plugins, re.MULTILINE)
    assert ids.index("access") < ids.index("agents") < ids.index("limits") < ids.index("notes")
    routes = gateway.cli("routes", "-c", str(gateway.config_path)).stdout
    assert "/api/v1/notes/{name}" in routes
    assert "/notes/{name}" in routes


def test_the_plugin_s_limits_hold(gateway: GatewayHarness) -> None:
    headers = {"X-API-Key": "pk_hello_reader"}
    big = gateway.request("PUT", "/api/v1/notes/big", headers=headers, body=b"x" * 1001)
    assert big.status == 413
    assert gateway.request("DELETE", "/api/v1/notes/big", headers=headers).status == 405
    missing = gateway.request("GET", "/notes/nothing")
    assert (missing.status, missing.json()["code"]) == (404, "not_found")
    assert missing.json()["detail"] == "there is no such note"
    assert missing.json()["request_id"] == missing.header("X-Request-Id")


def test_the_document_and_the_page_show_the_plugin_s_paths(gateway: GatewayHarness) -> None:
    assert "/api/v1/notes/{name}" in gateway.request("GET", "/openapi.json").json()["paths"]
    assert b"/api/v1/notes/{name}" in gateway.request("GET", "/docs").body


def test_the_page_s_own_tests_pass(reader: Reader) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hello.py"]
    done = subprocess.run(command, cwd=reader.folder, env=reader.env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"\b{2 * len(conformance.CHECKS) + 1} passed", done.stdout), done.stdout
    assert "skipped" not in done.stdout
