"""Commands that a running gateway does: who does them, what is refused, and what is written down nowhere."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from portico.errors import ControlError
from portico.runtime import control
from portico.testing import GatewayHarness, wait_for


def call(gateway: GatewayHarness, command: str, /, **arguments: Any) -> dict[str, Any]:
    return control.ask(gateway.data_dir, "services", 40, call={"name": command, "arguments": arguments})


def services(gateway: GatewayHarness) -> dict[str, Any]:
    return next(dict(each) for each in gateway.status()["processes"] if each["role"] == "services")


@pytest.mark.parametrize(
    ("called", "complaint"),
    [
        ({"call": {"name": "keys.eat", "arguments": {}}}, "there is no command 'keys.eat'"),
        ({"call": {"name": "keys.create", "arguments": {"name": "a", "colour": "red"}}}, "colour: no such argument"),
        ({"call": {"name": "keys.create"}}, r"a call is \{name, arguments\}"),
        ({"call": {"name": 7, "arguments": []}}, r"a call is \{name, arguments\}"),
        ({"call": "keys.create"}, r"services needs a call"),
        ({}, "services needs a call"),
    ],
)
def test_what_is_no_call_is_refused_in_a_sentence(
    gateway: GatewayHarness, called: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ControlError, match=complaint):
        control.ask(gateway.data_dir, "services", 10, **called)
    assert gateway.status()["state"] == "ready"


def test_neither_arguments_nor_answers_are_logged(gateway: GatewayHarness) -> None:
    made = call(gateway, "keys.create", name="unheard-of", tenant="whispered")
    token = call(gateway, "token.create", roles=["viewer"])["token"]
    with pytest.raises(ControlError):
        call(gateway, "people.create", email="loud@example.com", password="short")
    for word in (made["key"], token, "unheard-of", "whispered", "loud@example.com"):
        assert word not in gateway.output()


def test_a_caller_hears_at_once_when_the_services_end_over_it(gateway: GatewayHarness) -> None:
    pid = services(gateway)["pid"]
    heard: list[tuple[float, str]] = []

    def ask() -> None:
        try:
            call(gateway, "keys.list")
        except ControlError as error:
            heard.append((time.monotonic(), str(error)))

    os.kill(pid, signal.SIGSTOP)
    caller = threading.Thread(target=ask)
    caller.start()
    time.sleep(0.3)  # the question is on its way; nothing tells when it has arrived in a stopped process
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    caller.join(20)
    assert heard[0][0] - killed < 3
    assert "look whether it was done" in heard[0][1]
    wait_for(lambda: services(gateway)["state"] == "ready", 10)
    assert "items" in call(gateway, "keys.list")


def test_a_reload_s_roles_and_issuer_count_for_the_next_command(gateway: GatewayHarness) -> None:
    with pytest.raises(ControlError, match="'analyst' is no role"):
        call(gateway, "token.create", roles=["analyst"])
    pid = services(gateway)["pid"]
    gateway.rewrite({**CONFIG, "roles": {"analyst": ["collections:read"]}, "tokens": {"issuer": "ours"}})
    gateway.reload()
    assert call(gateway, "token.create", roles=["analyst"])["token"]
    assert services(gateway)["pid"] == pid
    gateway.rewrite({**CONFIG, "backups": {"every": "1h", "keep": 2}})
    gateway.reload()
    gateway.rewrite(CONFIG)
    gateway.reload()


CONFIG: dict[str, Any] = {"log": {"level": "debug"}}


@pytest.fixture(scope="module")
def gateway() -> Any:
    with GatewayHarness(CONFIG) as made:
        yield made
