"""The process tree: starts every child, hears them, notices deaths, and fills the place again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from portico.errors import ChannelError
from portico.kernel.channel import Message
from portico.runtime.child import DRAINING, READY, STARTING, STOPPED, Child, how_it_ended
from portico.runtime.journal import Journal
from portico.runtime.loop import READ, WRITE, Loop, Timer

START_WITHIN: Final = 30.0  # seconds; a child that is not ready by then is killed and started again
LAST_WORDS: Final = 1.0  # seconds between the end of a child's channel and its own
TRIES: Final = 3  # times a child may end before it was ever ready; then the start has failed


class Owner(Protocol):
    """What the tree tells, and asks, the supervisor."""

    def boot(self, child: Child) -> tuple[Message, list[int]]:
        """The boot message for a new process and the descriptors that go with it."""

    def heard(self, child: Child, message: Message) -> None:
        """A message other than `ready` and `failed`."""

    def is_ready(self, child: Child) -> None:
        """The child is ready."""

    def has_ended(self, child: Child, pid: int) -> None:
        """Process `pid` is gone; the child is WAITING or STOPPED."""

    def cannot_start(self, child: Child, reason: str) -> None:
        """The child was never ready and won't be."""


class Tree:
    """All children, in the order in which they were added."""

    def __init__(self, loop: Loop, journal: Journal, owner: Owner) -> None:
        self.children: list[Child] = []
        self.restarting = True  # False from the moment the gateway stops
        self._loop = loop
        self._journal = journal
        self._owner = owner
        self._timers: dict[Child, Timer] = {}
        self._was_ready: set[str] = set()

    def of(self, *roles: str) -> list[Child]:
        """The children of these roles."""
        return [child for child in self.children if child.role in roles]

    def ready(self, *roles: str) -> list[Child]:
        """Those of them that are ready."""
        return [child for child in self.of(*roles) if child.state == READY]

    def answering(self, *roles: str) -> list[Child]:
        """Those of them that can be asked: ready, or about to end."""
        return [child for child in self.of(*roles) if child.state in (READY, DRAINING)]

    def add(self, child: Child) -> None:
        """Take a place into the tree and start its process."""
        self.children.append(child)
        self.start(child)

    def replace(self, old: Child) -> Child:
        """Start a process that is to take the place of `old`, which goes on meanwhile.

        When either of the two ends before the other is drained, the one that is left keeps the place.
        """
        child = old.heir()
        self.children.insert(self.children.index(old) + 1, child)
        self.start(child)
        return child

    def start(self, child: Child) -> None:
        """Start the child's process and send it the boot message."""
        message, listeners = self._owner.boot(child)
        try:
            channel = child.spawn(listeners, time.monotonic())
        except OSError as error:  # no memory, or no process left for this user
            self._lost(child, 0, f"can't be started: {error.strerror}", child.ended(time.monotonic()))
            return
        tell = self._journal.info if child.restarts else self._journal.debug
        tell(f"{child.name} starts", pid=child.pid)
        self._loop.watch(channel, READ, lambda events: self._on_channel(child, events))
        self._timer(child, START_WITHIN, self._too_slow)
        self.send(child, message)

    def send(self, child: Child, message: Message) -> bool:
        """Whether the message is on its way; what does not fit now follows when the child reads."""
        sent = child.send(message)
        channel = child.channel
        if channel is not None and channel.pending:
            self._loop.watch(channel, READ | WRITE, lambda events: self._on_channel(child, events))
        return sent

    def drain(self, children: Iterable[Child], accept: float = 0.0) -> None:
        """Tell the children to finish what is in flight and to end.

        Edge workers take what still comes to the listening sockets for `accept` seconds.
        """
        for child in children:
            self._cancel(child)
            if child.process is None:
                child.state = STOPPED
            else:
                child.state = DRAINING
                self.send(child, {"type": "drain", "accept": accept})

    def kill(self, children: Iterable[Child]) -> None:
        """End the children at once."""
        for child in children:
            self._cancel(child)
            child.kill()

    def reap(self) -> None:
        """Take the exit status of every dead child; as PID 1, also of orphans that nobody else reaps."""
        while True:
            for child in list(self.children):
                code = child.process.poll() if child.process is not None else None
                if code is not None:
                    self._on_exit(child, code)
            if os.getpid() != 1 or reap_orphans({child.pid for child in self.children}):
                return

    def _on_channel(self, child: Child, events: int) -> None:
        channel = child.channel
        if channel is None:
            return
        try:
            if events & WRITE and channel.flush():
                self._loop.watch(channel, READ, lambda events: self._on_channel(child, events))
            if events & READ:
                self._read(child)
        except ChannelError as error:
            self._journal.error(f"{child.name} is killed: {error}", pid=child.pid)
            self._loop.unwatch(channel)
            child.kill()

    def _read(self, child: Child) -> bool:
        """Take what has come; False at the end of the stream."""
        channel = child.channel
        messages = channel.read() if channel is not None else None
        if channel is None or messages is None:
            if channel is not None:
                self._loop.unwatch(channel)
            if child.state in (STARTING, READY):  # it is ending, or lives but can't be told anything any more
                self._timer(child, LAST_WORDS, Child.kill)
            return False
        for message in messages:
            self._dispatch(child, message)
        return bool(messages)

    def _dispatch(self, child: Child, message: Message) -> None:
        match message.get("type"):
            case "ready" if child.state == STARTING:
                child.state = READY
                child.was_ready = True
                self._was_ready.add(child.name)
                self._cancel(child)
                seconds = round(time.monotonic() - child.started, 3)
                tell = self._journal.info if child.restarts else self._journal.debug
                tell(f"{child.name} is ready", pid=child.pid, seconds=seconds)
                self._owner.is_ready(child)
            case "failed":
                child.failure = str(message.get("error", ""))
            case _:
                self._owner.heard(child, message)

    def _on_exit(self, child: Child, code: int) -> None:
        while self._read(child):
            pass  # its last words
        if child.channel is not None:
            self._loop.unwatch(child.channel)
        self._cancel(child)
        pid, draining = child.pid, child.state == DRAINING
        wait = child.ended(time.monotonic())
        if draining or not self.restarting:
            child.state = STOPPED
            self._journal.info(f"{child.name} has stopped", pid=pid)
            if self._beside(child):
                self.children.remove(child)
            self._owner.has_ended(child, pid)
        else:
            self._lost(child, pid, child.failure or how_it_ended(code), wait)

    def _lost(self, child: Child, pid: int, reason: str, wait: float) -> None:
        """A process ended, or never began, that was to go on: fill its place again, unless another process does."""
        if any(other.state in (STARTING, READY) for other in self._beside(child)):
            child.state = STOPPED
            child.failure = reason
            self.children.remove(child)
            self._journal.error(f"{child.name} {reason}; the other process in its place goes on", pid=pid)
        else:
            self._fill_again(child, pid, reason, wait)
        self._owner.has_ended(child, pid)

    def _beside(self, child: Child) -> list[Child]:
        """The other processes in the same place."""
        return [other for other in self.children if other is not child and other.name == child.name]

    def _fill_again(self, child: Child, pid: int, reason: str, wait: float) -> None:
        child.restarts += 1
        never = child.name not in self._was_ready
        if never and (child.failure or child.restarts >= TRIES):
            self._owner.cannot_start(child, reason)
            return
        self._journal.error(f"{child.name} {reason}; it is started again", pid=pid, after_seconds=wait)
        self._timer(child, wait, self.start)

    def _too_slow(self, child: Child) -> None:
        self._journal.error(f"{child.name} was not ready within {START_WITHIN:g} s", pid=child.pid)
        child.kill()

    def _timer(self, child: Child, seconds: float, callback: Callable[[Child], None]) -> None:
        self._cancel(child)
        self._timers[child] = self._loop.later(seconds, lambda: callback(child))

    def _cancel(self, child: Child) -> None:
        timer = self._timers.pop(child, None)
        if timer is not None:
            timer.cancel()


def reap_orphans(ours: set[int]) -> bool:
    """Reap dead children of this process until none is left, or until one of `ours` is next.

    False in the second case: `subprocess` takes the status of ours itself.
    """
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        if found is None:
            return True
        if found.si_pid in ours:
            return False
        os.waitpid(found.si_pid, 0)
