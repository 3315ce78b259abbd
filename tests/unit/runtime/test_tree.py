"""The process tree, with real processes that speak the channel's language and do as the test says."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portico.kernel.channel import Message
from portico.runtime import child as child_module
from portico.runtime import tree as tree_module
from portico.runtime.child import FIRST_DELAY, LONGEST_DELAY, READY, STEADY, STOPPED, Child, how_it_ended
from portico.runtime.gather import Gatherer
from portico.runtime.journal import Journal
from portico.runtime.loop import Loop
from portico.runtime.stopping import Shutdown
from portico.runtime.tree import Tree, reap_orphans

PROGRAM = """
import os, signal, socket, sys, time
from portico.kernel.channel import Channel
how, fd = sys.argv[1], int(sys.argv[2])
channel = Channel(socket.socket(fileno=fd))
boot = channel.receive()
if how == "dies":
    sys.exit(7)
if how == "gives-up":
    channel.send({"type": "failed", "error": "plugin 'x' failed to start: no luck"})
    sys.exit(1)
channel.send({"type": "ready"})
while (message := channel.receive()) is not None:
    if message["type"] == "drain" and how != "stubborn":
        channel.send({"type": "drained"})
        sys.exit(0)
    if message["type"] == "ask" and how != "mute":
        body = {"pid": os.getpid(), "fds": sorted(os.listdir("/proc/self/fd")), "pgid": os.getpgid(0), "path": sys.path}
        channel.send({"type": "answer", "id": message["id"], "body": body})
"""


class World:
    """A loop, a tree and an owner that writes down what it is told."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.told: list[tuple[str, str]] = []
        self.listeners: list[int] = []
        self.tree = Tree(loop, Journal(), self)
        self.gatherer = Gatherer(loop)
        self.shutdown = Shutdown(loop, self.tree, Journal(), loop.stop)

    def boot(self, child: Child) -> tuple[Message, list[int]]:
        return {"type": "boot", "snapshot": "x" * 3_000_000}, self.listeners  # more than a socket holds at once

    def heard(self, child: Child, message: Message) -> None:
        if message["type"] == "answer":
            self.gatherer.answered(child, message)

    def is_ready(self, child: Child) -> None:
        self.told.append(("ready", child.name))

    def has_ended(self, child: Child, pid: int) -> None:
        self.told.append(("ended", child.name))
        self.gatherer.lost(pid)
        self.shutdown.has_ended()

    def cannot_start(self, child: Child, reason: str) -> None:
        self.told.append(("cannot", reason))
        self.loop.stop()

    def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Run the loop until `condition` holds."""
        deadline = time.monotonic() + timeout

        def look() -> None:
            if condition() or time.monotonic() > deadline:
                self.loop.stop()
            else:
                self.loop.later(0.01, look)

        look()
        self.loop.run()
        assert condition(), self.told


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "fake_child.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    loop = Loop()
    made = World(loop)
    loop.take_signals([signal.SIGCHLD], lambda _: made.tree.reap())
    yield made
    made.tree.restarting = False
    for child in made.tree.children:
        child.kill()
        if child.process is not None:
            child.process.wait(5)
        if child.channel is not None:
            child.channel.close()
    loop.close()


def _child(how: str, role: str = "edge", index: int = 0) -> Child:
    return Child(role, index, "fake_child", how)


def test_a_large_boot_message_arrives_and_the_child_becomes_ready(world: World) -> None:
    child = _child("serves")
    world.tree.add(child)
    world.until(lambda: child.state == READY)
    assert world.told == [("ready", "edge 0")]
    assert world.tree.ready("edge") == [child]
    assert world.tree.ready("services") == []


def test_a_child_inherits_its_channel_and_the_listeners_and_nothing_else(world: World) -> None:
    secret = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret, True)
    given = os.open("/dev/null", os.O_RDONLY)
    world.listeners = [given]
    child = _child("serves")
    world.tree.add(child)
    world.until(lambda: child.state == READY)
    world.gatherer.ask([child], "report", lambda _: None)
    world.until(lambda: "fds" in child.report)
    os.close(secret)
    os.close(given)
    fds = {int(fd) for fd in child.report["fds"]}
    assert given in fds
    assert secret not in fds
    assert len(fds) == 6  # standard three, channel, listener, and the directory being listed
    assert child.report["pgid"] == child.pid != os.getpgid(0), "Ctrl-C must reach the supervisor alone"
    assert "" not in child.report["path"]
    assert os.getcwd() not in child.report["path"]


def test_a_killed_child_is_started_again(world: World) -> None:
    child = _child("serves")
    world.tree.add(child)
    world.until(lambda: child.state == READY)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    world.until(lambda: child.state == READY and child.pid != first)
    assert child.restarts == 1
    assert world.told == [("ready", "edge 0"), ("ended", "edge 0"), ("ready", "edge 0")]


def test_a_child_that_closes_its_channel_is_replaced(world: World, tmp_path: Path) -> None:
    program = PROGRAM.replace(
        'channel.send({"type": "ready"})', 'channel.send({"type": "ready"}); channel.close(); time.sleep(60)'
    )
    (tmp_path / "fake_child.py").write_text(program)
    child = _child("serves")
    world.tree.add(child)
    world.until(lambda: child.restarts >= 1)


def test_nonsense_on_the_channel_ends_the_child(world: World, tmp_path: Path) -> None:
    program = PROGRAM.replace('channel.send({"type": "ready"})', 'channel.sock.sendall(b"\\xff" * 8); time.sleep(60)')
    (tmp_path / "fake_child.py").write_text(program)
    child = _child("serves")
    world.tree.add(child)
    world.until(lambda: child.restarts >= 1)


def test_the_sentence_of_one_that_gives_up_is_the_reason(world: World) -> None:
    world.tree.add(_child("gives-up"))
    world.until(lambda: ("cannot", "plugin 'x' failed to start: no luck") in world.told)


def test_one_that_dies_before_it_was_ever_ready_is_tried_thrice(world: World) -> None:
    child = _child("dies")
    world.tree.add(child)
    world.until(lambda: ("cannot", "ended with code 7") in world.told)
    assert child.restarts == 3


def test_one_that_is_not_ready_in_time_is_killed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "START_WITHIN", 0.2)
    (tmp_path / "fake_child.py").write_text("import time; time.sleep(60)")
    child = _child("serves")
    world.tree.add(child)
    world.until(lambda: child.restarts >= 1)


def _replaced(world: World, how: str) -> tuple[Child, Child]:
    """A ready child, and the process that is to take its place."""
    old = _child("serves")
    world.tree.add(old)
    world.until(lambda: old.state == READY)
    old.options = (how,)
    return old, world.tree.replace(old)


def test_a_new_process_takes_the_place_when_the_old_one_has_drained(world: World) -> None:
    old, new = _replaced(world, "serves")
    world.until(lambda: new.state == READY)
    assert world.tree.children == [old, new]
    assert old.state == READY, "it has served all the time"
    world.tree.drain([old])
    world.until(lambda: world.tree.children == [new])
    assert world.tree.restarting
    os.kill(new.pid, signal.SIGKILL)
    world.until(lambda: new.restarts == 1 and new.state == READY)
    assert world.tree.children == [new], "the place is filled as ever"


def test_a_new_process_that_does_not_start_leaves_the_old_one_alone(world: World) -> None:
    old, new = _replaced(world, "gives-up")
    world.until(lambda: world.tree.children == [old])
    assert (old.state, new.state) == (READY, STOPPED)
    assert new.failure == "plugin 'x' failed to start: no luck"
    assert ("cannot", "plugin 'x' failed to start: no luck") not in world.told


def test_an_old_process_that_dies_leaves_its_place_to_the_new_one(world: World) -> None:
    old, new = _replaced(world, "serves")
    old.kill()
    world.until(lambda: new.state == READY and world.tree.children == [new])
    assert new.restarts == 0


def test_when_both_die_the_place_is_filled_again(world: World) -> None:
    old, new = _replaced(world, "dies")
    old.kill()
    world.until(lambda: new.restarts >= 2)
    new.options = ("serves",)
    world.until(lambda: new.state == READY)
    assert world.tree.children == [new]


def test_a_process_that_the_system_does_not_grant_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    child = _child("serves")
    world.tree.add(child)
    world.until(lambda: child.state == READY)
    with monkeypatch.context() as patched:
        patched.setattr(child_module.sys, "executable", "/nonexistent/python")
        child.kill()
        world.until(lambda: child.restarts >= 2)
    world.until(lambda: child.state == READY)


def test_stopping_goes_role_by_role(world: World) -> None:
    for role in ("services", "edge", "echo"):
        world.tree.add(_child("serves", role))
    world.until(lambda: len(world.tree.ready("edge", "services", "echo")) == 3)
    world.shutdown.begin(5.0)
    world.until(lambda: all(child.state == STOPPED for child in world.tree.children))
    assert [name for what, name in world.told if what == "ended"] == ["edge 0", "services 0", "echo 0"]


def test_one_that_does_not_drain_is_killed(world: World) -> None:
    child = _child("stubborn")
    world.tree.add(child)
    world.until(lambda: child.state == READY)
    began = time.monotonic()
    world.shutdown.begin(-1.8)  # with the spare time: 0.2 s
    world.until(lambda: child.state == STOPPED)
    assert 0.15 < time.monotonic() - began < 3


def test_stopping_while_one_waits_for_its_next_start(world: World) -> None:
    child = _child("serves")
    world.tree.add(child)
    world.until(lambda: child.state == READY)
    child.delay = 60.0
    os.kill(child.pid, signal.SIGKILL)
    world.until(lambda: child.process is None)
    world.shutdown.begin(5.0)
    assert child.state == STOPPED


def test_stopping_at_once(world: World) -> None:
    child = _child("stubborn")
    world.tree.add(child)
    world.until(lambda: child.state == READY)
    world.shutdown.begin(60.0)
    world.shutdown.at_once()
    world.until(lambda: child.process is None, 2.0)
    assert world.shutdown.immediate


def test_asking_leaves_out_the_silent_and_the_dead(world: World) -> None:
    good, mute, dying = _child("serves", index=0), _child("mute", index=1), _child("mute", index=2)
    for child in (good, mute, dying):
        world.tree.add(child)
    world.until(lambda: len(world.tree.ready("edge")) == 3)
    answers: list[list[str]] = []
    began = time.monotonic()
    world.gatherer.ask([good], "report", lambda found: answers.append([child.name for child, _ in found]))
    world.until(lambda: len(answers) == 1)
    assert time.monotonic() - began < 0.9, "one that has all answers does not wait"
    world.gatherer.ask([good, mute], "report", lambda found: answers.append([child.name for child, _ in found]))
    world.until(lambda: len(answers) == 2)
    world.gatherer.ask([good, dying], "report", lambda found: answers.append([child.name for child, _ in found]))
    os.kill(dying.pid, signal.SIGKILL)
    began = time.monotonic()
    world.until(lambda: len(answers) == 3)
    assert time.monotonic() - began < 0.9, "nobody waits for a dead one"
    assert answers == [["edge 0"], ["edge 0"], ["edge 0"]]
    world.gatherer.ask([], "report", lambda found: answers.append([]))
    assert answers[-1] == []


def test_the_delay_doubles_and_begins_anew_after_a_steady_time() -> None:
    child = _child("serves")
    waits = []
    for _ in range(8):
        child.started = 100.0
        waits.append(child.ended(now=100.5))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert (waits[0], waits[-1]) == (FIRST_DELAY, LONGEST_DELAY)
    child.started = 100.0
    assert child.ended(now=100.0 + STEADY) == FIRST_DELAY


@pytest.mark.parametrize(
    ("code", "words"), [(0, "ended with code 0"), (3, "ended with code 3"), (-9, "was killed by SIGKILL")]
)
def test_how_it_ended(code: int, words: str) -> None:
    assert how_it_ended(code) == words


ORPHANS = """
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to us, as they do to PID 1
from portico.runtime.tree import reap_orphans
ours = subprocess.Popen(["true"])
subprocess.run(["sh", "-c", "sh -c 'exit 0' & sh -c 'exit 0' & exit 0"])
def zombies():
    return [line for line in os.popen(f"ps -o stat= --ppid {os.getpid()}") if line.startswith("Z")]
deadline = time.monotonic() + 10
while len(zombies()) < 3:
    assert time.monotonic() < deadline, zombies()
    time.sleep(0.02)
while not reap_orphans({ours.pid} if ours.returncode is None else set()):
    assert ours.poll() == 0
assert ours.poll() == 0
assert zombies() == [], zombies()
print("reaped")
"""


def test_orphans_are_reaped_and_our_own_status_is_kept() -> None:
    assert ctypes.sizeof(ctypes.c_void_p) == 8
    result = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, text=True, check=False, timeout=20)
    assert result.stdout == "reaped\n", result.stderr


def test_without_any_child_there_is_nothing_to_reap() -> None:
    program = "from portico.runtime.tree import reap_orphans; print(reap_orphans(set()))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "True\n"
    assert callable(reap_orphans)
