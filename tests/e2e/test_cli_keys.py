"""`portico keys`, `token` and `people`: the same with a running gateway and without one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portico.cli import exits
from portico.testing import GatewayHarness, free_port

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
KEY = re.compile(r"pk_[0-9A-Za-z]{49}")


class Commands:
    """The command line on one data directory."""

    def __init__(self, folder: Path, config: Path | None = None) -> None:
        self.folder = folder
        self.config = ["-c", str(config)] if config is not None else []

    def run(self, *args: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "portico", *args, *self.config, "--data-dir", str(self.folder)]
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, cwd=self.folder.parent, check=False,
            env={**os.environ, **env},
        )  # fmt: skip

    def told(self, *args: str, text: str = "", **env: str) -> dict[str, Any]:
        done = self.run(*args, "--json", text=text, **env)
        assert done.returncode == exits.OK, done.stdout + done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def running() -> Iterator[Commands]:
    with GatewayHarness() as gateway:
        yield Commands(gateway.data_dir)


@pytest.fixture(scope="module", params=["running", pytest.param("not running", marks=pytest.mark.long)])
def commands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    if request.param == "running":
        made: Commands = request.getfixturevalue("running")
        return made
    return Commands(tmp_path_factory.mktemp("none") / "data")


def test_a_key_s_life(commands: Commands) -> None:
    made = commands.told(
        "keys", "create", "--name", "reports", "--rate", "600/minute", "--burst", "60", "--quota", "10000/day",
        "--permission", "users:read", "--permission", "orders:*", "--tenant", "acme", "--expires", "30d",
        "--network", "10.0.0.0/8",
    )  # fmt: skip
    assert set(made) == {"id", "key"}
    assert KEY.fullmatch(made["key"])
    assert re.fullmatch(UUID, made["id"])
    shown = commands.told("keys", "show", made["id"])
    assert shown["is_active"] is True
    wanted = {
        "name": "reports", "rate": "600/minute", "burst": 60, "per_minute": 0, "quota": "10000/day", "per_day": 0,
        "permissions": ["users:read", "orders:*"], "tenant": "acme", "networks": ["10.0.0.0/8"],
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted
    assert made["key"] not in json.dumps(shown)
    successor = commands.told("keys", "rotate", made["id"], "--grace", "10m")
    assert successor["replaces"] == made["id"]
    assert successor["key"] != made["key"]
    assert commands.told("keys", "revoke", successor["id"]) == {"id": successor["id"], "revoked": True}
    listed = commands.told("keys", "list", "--tenant", "acme")["items"]
    assert {key["id"]: key["is_active"] for key in listed} == {made["id"]: False, successor["id"]: False}
    assert commands.told("keys", "list", "--tenant", "acme", "--active")["items"] == []


def test_what_people_read(commands: Commands) -> None:
    text = commands.run("keys", "create", "--name", "mine").stdout
    key, id_ = KEY.search(text), re.search(UUID, text)
    assert key is not None
    assert id_ is not None
    assert "limits  60/minute, 10000/day" in text
    assert "the only time that the key is shown" in text
    listing = commands.run("keys", "list").stdout
    row = next(line for line in listing.splitlines() if id_[0] in line)
    assert "mine" in row
    assert "active" in row
    assert key[0] not in listing
    shown = commands.run("keys", "show", id_[0]).stdout
    assert f"begins     {key[0][:10]}\n" in shown
    assert commands.run("keys", "revoke", id_[0]).stdout == f"revoked: {id_[0]}\n"
    assert "had been revoked before" in commands.run("keys", "revoke", id_[0]).stdout


def test_a_list_goes_on_where_it_ended(running: Commands) -> None:
    commands = running
    ids = [commands.told("keys", "create", "--name", f"n{number}", "--tenant", "pages")["id"] for number in range(3)]
    first = commands.told("keys", "list", "--tenant", "pages", "--limit", "2")
    assert [key["id"] for key in first["items"]] == ids[:2]
    rest = commands.told("keys", "list", "--tenant", "pages", "--limit", "2", "--after", first["next_cursor"])
    assert [key["id"] for key in rest["items"]] == ids[2:]
    assert rest["next_cursor"] is None
    assert f"--after {first['next_cursor']}" in commands.run("keys", "list", "--tenant", "pages", "--limit", "2").stdout


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("keys", "create", "--name", "a", "--window", "often"), "window"),
        (("keys", "create", "--name", "a", "--burst", "5"), "burst goes with rate only"),
        (("keys", "create", "--name", "a", "--permission", "all of it"), "permissions"),
        (("keys", "create", "--name", "a", "--network", "here"), "networks"),
        (("keys", "create", "--name", "a", "--expires", "soon"), "expires"),
        (("keys", "show", "0198c1d2-0000-7000-8000-000000000000"), "there is no key"),
        (("keys", "rotate", "nobody"), "there is no such key"),
        (
            ("token", "create", "--role", "king"),
            "'king' is no role; there are: admin, operator, reviewer, user, viewer",
        ),
        (("token", "create", "--role", "user", "--ttl", "400d"), "ttl"),
        (("people", "create", "no address"), "email"),
        (("people", "create", "a@example.com", "--role", "king"), "'king' is no role"),
        (("people", "disable", "nobody@example.com"), "there is no person"),
    ],
)
def test_what_cannot_be_is_one_sentence(running: Commands, args: tuple[str, ...], complaint: str) -> None:
    done = running.run(*args)
    assert done.returncode == exits.FAILURE
    assert done.stdout == ""
    assert complaint in done.stderr
    assert [line[:8] for line in done.stderr.splitlines()][:1] == ["portico:"]
    assert len([line for line in done.stderr.splitlines() if not line.startswith("hint:")]) == 1


def test_a_refusal_as_a_document(commands: Commands) -> None:
    done = commands.run("keys", "create", "--name", "a", "--window", "often", "--json")
    assert done.returncode == exits.FAILURE
    told = json.loads(done.stdout)
    assert told["error"].startswith("window must be")
    assert told["code"] == exits.FAILURE


def test_a_token_and_its_holder(commands: Commands) -> None:
    made = commands.told("token", "create", "--role", "viewer", "--ttl", "2h", "--name", "monitor")
    assert made["token"].count(".") == 2
    holder = next(each for each in commands.told("people", "list")["items"] if each["id"] == made["id"])
    assert (holder["name"], holder["roles"], holder["email"]) == ("monitor", ["viewer"], "")


def test_a_person_s_life(commands: Commands) -> None:
    password = "a long enough one"
    made = commands.told("people", "create", "Ada@example.com", "--role", "operator", "--password-stdin", text=password)
    assert (made["email"], made["roles"], made["has_password"]) == ("ada@example.com", ["operator"], True)
    assert password not in json.dumps(made)
    assert commands.told("people", "create", "bo@example.com")["has_password"] is False
    assert commands.told("people", "disable", "ada@example.com")["disabled"] is True
    assert commands.told("people", "enable", made["id"])["disabled"] is False
    assert "ada@example.com" in commands.run("people", "list").stdout


def test_the_roles_of_the_configuration_count(tmp_path: Path) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text("roles: {analyst: [collections:read]}\n")
    alone = Commands(tmp_path / "data", file)
    assert alone.told("token", "create", "--role", "analyst")["token"]
    assert "analyst" in alone.run("token", "create", "--role", "king").stderr


def test_what_was_made_without_a_gateway_counts_when_it_runs_and_the_other_way_round() -> None:
    with GatewayHarness(wait=False) as gateway:
        commands = Commands(gateway.data_dir)
        gateway.wait_ready()
        while_running = commands.told("keys", "create", "--name", "one")["id"]
        gateway.stop()
        alone = commands.told("keys", "create", "--name", "two")["id"]
        names = {key["id"]: key["name"] for key in commands.told("keys", "list")["items"]}
        assert (names[while_running], names[alone]) == ("one", "two")
        gateway.start()
        gateway.wait_ready()
        assert {while_running, alone} <= {key["id"] for key in commands.told("keys", "list")["items"]}


def test_commands_at_the_same_time_all_succeed_also_while_a_gateway_starts(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "data")
    done: list[subprocess.CompletedProcess[str]] = []

    def create(number: int) -> None:
        done.append(commands.run("keys", "create", "--name", f"n{number}"))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    port = free_port()
    up = commands.run("up", "--detach", "--port", str(port))
    for thread in threads:
        thread.join(60)
    try:
        assert up.returncode == exits.OK, up.stderr
        assert [each.returncode for each in done] == [exits.OK] * 4, [each.stderr for each in done]
        assert len(commands.told("keys", "list")["items"]) == 5, "and the first administrator's"
    finally:
        assert commands.run("down").returncode == exits.OK


def test_a_wrong_passphrase_is_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "data")
    made = commands.told("keys", "create", "--name", "a", PORTICO_PASSPHRASE="correct horse battery")
    assert not (tmp_path / "data" / "vault.key").exists()
    wrong = commands.run("keys", "list", PORTICO_PASSPHRASE="wrong horse battery")
    assert wrong.returncode == exits.FAILURE
    assert "passphrase" in wrong.stderr
    assert "horse" not in wrong.stderr
    assert commands.run("keys", "list").returncode == exits.FAILURE
    again = commands.told("keys", "list", PORTICO_PASSPHRASE="correct horse battery")
    assert [key["id"] for key in again["items"]] == [made["id"]]


def test_a_gateway_without_services_says_so() -> None:
    with GatewayHarness(args=("--role", "edge")) as gateway:
        done = Commands(gateway.data_dir).run("keys", "list")
        assert done.returncode == exits.FAILURE
        assert "this gateway runs no services (--role edge)" in done.stderr


def test_an_empty_variable_is_refused_and_an_unknown_one_told(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "data")
    refused = commands.run("keys", "list", PORTICO_PASSPHRASE="")
    assert refused.returncode == exits.CONFIG
    assert "PORTICO_PASSPHRASE is set and empty" in refused.stderr
    assert not (tmp_path / "data").exists()
    file = tmp_path / "portico.yaml"
    file.write_text("server: {port: 0}\n")
    command = [sys.executable, "-m", "portico", "check", str(file)]
    told = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PORTICO_PASPHRASE": "x"}, check=False, timeout=30
    )
    assert (
        "warning: the environment variable PORTICO_PASPHRASE is set, and nothing reads it; did you mean" in told.stdout
    )


@pytest.mark.parametrize("command", [("keys", "list"), ("people", "list"), ("keys", "revoke", "x")])
def test_looking_makes_no_vault(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = Commands(tmp_path / "d").run(*command)
    assert done.returncode == exits.FAILURE
    assert "there is no vault" in done.stderr
    assert "`portico up` makes one" in done.stderr
    assert not [file.name for file in (tmp_path / "d").glob("*") if file.is_file() and file.name != "portico.pid"]


def test_a_password_is_asked_for_at_the_terminal_and_not_shown(tmp_path: Path) -> None:
    password = "a long enough one"
    command = [
        sys.executable,
        "-m",
        "portico",
        "people",
        "create",
        "ada@example.com",
        "--data-dir",
        str(tmp_path / "d"),
    ]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    shown = b""
    for prompt in (b"Password: ", b"Repeat for confirmation: "):
        shown = _until(terminal, prompt)
        os.write(terminal, password.encode() + b"\n")
    shown += _until(terminal, b"roles user")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == exits.OK
    assert password.encode() not in shown
    person = Commands(tmp_path / "d").told("people", "list")["items"][0]
    assert (person["email"], person["has_password"]) == ("ada@example.com", True)


def _until(terminal: int, text: bytes) -> bytes:
    """What is shown up to `text`; fails when that does not come within half a minute."""
    shown = b""
    deadline = time.monotonic() + 30
    while text not in shown:
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], shown
        shown += os.read(terminal, 4096)
    return shown
