"""Stopping in order: the edge first, so that what is in flight still finds the services; then those; then the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from portico.runtime.child import STOPPED
from portico.runtime.journal import Journal
from portico.runtime.loop import Loop, Timer
from portico.runtime.options import ECHO, EDGE, SERVICES
from portico.runtime.tree import Tree

SPARE: Final = 2.0  # seconds beyond the drain time before a process is killed
SERVICES_GRACE: Final = 10.0
ECHO_GRACE: Final = 2.0
ACCEPT: Final = 0.25  # seconds in which handshakes that had begun before may end, and are still taken


class Shutdown:
    """Drains role after role; `done` is called when no process is left."""

    def __init__(self, loop: Loop, tree: Tree, journal: Journal, done: Callable[[], None]) -> None:
        self.begun = False
        self.immediate = False
        self._loop = loop
        self._tree = tree
        self._journal = journal
        self._done = done
        self._stages: list[tuple[str, float]] = []
        self._role = ""
        self._timer: Timer | None = None

    def begin(self, drain: float) -> None:
        """Start draining; the edge gets `drain` seconds."""
        if self.begun:
            return
        self.begun = True
        self._tree.restarting = False
        self._stages = [(EDGE, drain + SPARE), (SERVICES, SERVICES_GRACE), (ECHO, ECHO_GRACE)]
        self._next()

    def at_once(self) -> None:
        """Kill whatever still runs."""
        self.begun = self.immediate = True
        self._tree.restarting = False
        self._stages = []
        self._role = ""
        self._tree.kill(self._tree.children)
        self.has_ended()

    def has_ended(self) -> None:
        """A child has ended: go on when it was the last of its role."""
        if not self.begun:
            return
        if self._role:
            if all(child.state == STOPPED for child in self._tree.of(self._role)):
                self._next()
        elif all(child.process is None for child in self._tree.children):
            self._done()

    def _next(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._stages:
            self._role = ""
            self.has_ended()
            return
        self._role, grace = self._stages.pop(0)
        children = self._tree.of(self._role)
        self._tree.drain(children, ACCEPT)
        self._timer = self._loop.later(grace, self._too_slow)
        self.has_ended()

    def _too_slow(self) -> None:
        left = [child for child in self._tree.of(self._role) if child.process is not None]
        for child in left:
            self._journal.warning(f"{child.name} did not finish in time and is killed", pid=child.pid)
        self._tree.kill(left)
