"""The reload transaction, over real processes that take, refuse, ignore or die of a snapshot."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from portico import contracts
from portico.config import Settings
from portico.contracts import Listen, Server, Snapshot
from portico.errors import ConfigError, Problem
from portico.kernel.channel import Message
from portico.runtime import reload as reload_module
from portico.runtime.build import Builder, Built
from portico.runtime.child import READY, Child
from portico.runtime.journal import Journal
from portico.runtime.loop import Loop
from portico.runtime.options import UpOptions
from portico.runtime.reload import Reloader
from portico.runtime.tree import Tree

PROGRAM = """
import json, os, socket, sys
from portico.kernel.channel import Channel
how, fd = sys.argv[1], int(sys.argv[2])
channel = Channel(socket.socket(fileno=fd))
channel.receive()
channel.send({"type": "ready"})
while (message := channel.receive()) is not None:
    snapshot = json.loads(message["snapshot"])
    if snapshot["source"] == "good" or how == "takes":
        channel.send({"type": "reloaded", "version": snapshot["version"]})
    elif how == "refuses":
        channel.send({"type": "refused", "version": snapshot["version"], "error": "no"})
    elif how == "dies":
        os._exit(9)
"""


class Sources(Builder):
    """Builds from a variable instead of a file."""

    def __init__(self) -> None:
        super().__init__(UpOptions())
        self.source = "good"

    def build(self, version: int) -> Built:
        if self.source == "broken":
            raise ConfigError([Problem("portico.yaml", 3, "server.prot", "is no key")])
        return Built(Settings(), Snapshot(version, self.source, Server((Listen("main"),))), ())


class World:
    """A tree whose owner knows reloads only."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.sources = Sources()
        self.tree = Tree(loop, Journal(), self)
        self.reloader = Reloader(loop, self.tree, Journal(), self.sources)
        self.reloader.first()
        self.outcomes: list[dict[str, Any]] = []

    def boot(self, child: Child) -> tuple[Message, list[int]]:
        child.sent_version = self.reloader.snapshot.version
        return {"type": "boot", "snapshot": contracts.dump(self.reloader.snapshot)}, []

    def heard(self, child: Child, message: Message) -> None:
        self.reloader.heard(child, message)

    def is_ready(self, child: Child) -> None:
        self.reloader.catch_up()

    def has_ended(self, child: Child, pid: int) -> None:
        self.reloader.lost(child, pid)

    def cannot_start(self, child: Child, reason: str) -> None:
        raise AssertionError(reason)

    def add(self, *how: str) -> None:
        for index, each in enumerate(how):
            self.tree.add(Child("edge", index, "fake_child", each))
        self.until(lambda: all(child.state == READY for child in self.tree.children))

    def reload(self, source: str) -> dict[str, Any]:
        self.sources.source = source
        self.outcomes.clear()
        self.reloader.begin(self.outcomes.append)
        self.until(lambda: bool(self.outcomes))
        return self.outcomes[0]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10

        def look() -> None:
            if condition() or time.monotonic() > deadline:
                self.loop.stop()
            else:
                self.loop.later(0.01, look)

        look()
        self.loop.run()
        assert condition()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "fake_child.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(reload_module, "PATIENCE", 0.4)
    loop = Loop()
    made = World(loop)
    loop.take_signals([signal.SIGCHLD], lambda _: made.tree.reap())
    yield made
    for child in made.tree.children:
        child.kill()
        if child.process is not None:
            child.process.wait(5)
        if child.channel is not None:
            child.channel.close()
    loop.close()


def test_all_take_it(world: World) -> None:
    world.add("takes", "takes")
    assert world.reload("new") == {"ok": True, "body": {"version": 2, "warnings": []}}
    assert world.reloader.snapshot.source == "new"
    assert (world.reloader.ok, world.reloader.failed) == (1, 0)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("refuses", "edge 1 refused it: no"),
        ("ignores", "edge 1 did not take it within 0.4 s"),
        ("dies", "edge 1 died while taking it"),
    ],
)
def test_one_that_does_not_take_it_brings_the_last_good_one_back_for_all(world: World, how: str, reason: str) -> None:
    world.add("takes", how)
    outcome = world.reload("new")
    assert (outcome["ok"], outcome["error"]) == (False, reason)
    assert world.reloader.last_error == reason
    assert (world.reloader.snapshot.source, world.reloader.snapshot.version) == ("good", 3)
    world.until(lambda: {child.sent_version for child in world.tree.ready("edge")} == {3})
    assert (world.reloader.ok, world.reloader.failed) == (0, 1)
    assert world.reload("good") == {"ok": True, "body": {"version": 4, "warnings": []}}
    assert world.reloader.last_error == ""


def test_a_broken_file_is_offered_to_nobody(world: World) -> None:
    world.add("dies")
    outcome = world.reload("broken")
    assert outcome["problems"] == [{"file": "portico.yaml", "line": 3, "path": "server.prot", "message": "is no key"}]
    assert world.reloader.snapshot.version == 1


def test_two_at_once_are_one_and_another_later(world: World) -> None:
    world.add("takes")
    outcomes: list[dict[str, Any]] = []
    world.sources.source = "new"
    world.reloader.begin(outcomes.append)
    world.reloader.begin(outcomes.append)
    assert outcomes == [{"ok": False, "error": "another reload is under way; ask again"}]
    world.until(lambda: world.reloader.ok == 2)


def test_without_children_it_is_taken_at_once(world: World) -> None:
    assert world.reload("new")["ok"] is True


def test_a_child_that_starts_meanwhile_catches_up(world: World) -> None:
    world.add("takes", "takes")
    late = world.tree.children[1]
    late.kill()
    world.until(lambda: late.process is None)
    assert world.reload("new")["ok"] is True
    world.until(lambda: late.state == READY and late.sent_version == 2)
