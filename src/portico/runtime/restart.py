"""A rolling restart: process after process is replaced by a new one on the same sockets, and only then drained."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from portico.contracts import SERVICES as OUR_SERVICES
from portico.runtime.child import READY, Child
from portico.runtime.control_server import Reply
from portico.runtime.journal import Journal
from portico.runtime.loop import Loop, Timer
from portico.runtime.options import EDGE, SERVICES
from portico.runtime.stopping import SPARE
from portico.runtime.tree import Tree


class Restarter:
    """Replaces the services, then each edge worker: start the new process, wait until it is ready, drain the old one.

    A new process that does not become ready ends the restart; the old one has never stopped serving then.
    """

    def __init__(self, loop: Loop, tree: Tree, journal: Journal, drain: Callable[[], float]) -> None:
        self._loop = loop
        self._tree = tree
        self._journal = journal
        self._drain = drain  # seconds that what is in flight may take
        self._reply: Reply | None = None
        self._places: list[Child] = []
        self._old: Child | None = None
        self._new: Child | None = None
        self._timer: Timer | None = None
        self._done: dict[str, dict[str, Any]] = {}

    @property
    def under_way(self) -> bool:
        """Whether a restart is going on."""
        return self._reply is not None

    def begin(self, reply: Reply) -> None:
        """Replace every process that is ready; `reply` hears of each step, and of the end."""
        if self.under_way:
            reply({"ok": False, "error": "another restart is under way"})
            return
        self._reply = reply
        self._places = self._tree.ready(SERVICES) + self._tree.ready(EDGE)
        self._done = {}
        self._journal.info("restarting: each process is replaced, then drained", processes=len(self._places))
        self._next()

    def is_ready(self, child: Child) -> None:
        """A process is ready; when it is the one that was waited for, the old one can go."""
        if child is not self._new:
            return
        self._tell(f"{child.name}: process {child.pid} is ready")
        old = self._old
        seconds = round(time.monotonic() - child.started, 3)
        replaced = old.pid if old is not None else 0
        self._done[child.name] = {
            "role": child.role, "index": child.index, "pid": child.pid, "replaced": replaced, "ready_after": seconds
        }  # fmt: skip
        if old is None:  # it has died meanwhile
            self._next()
            return
        self._tell(f"{child.name}: process {old.pid} finishes what is in flight")
        self._tree.drain([old])
        self._timer = self._loop.later(self._drain() + SPARE, lambda: self._too_slow(old))
        if child.role == SERVICES:
            # The old process closes no connection on which a request may be on its way; the edge can, and does so now.
            for edge in self._tree.ready(EDGE):
                self._tree.send(edge, {"type": "renew", "upstream": OUR_SERVICES})

    def has_ended(self, child: Child, pid: int) -> None:
        """A process is gone: an old one that was drained, or one that was not to end."""
        if not self.under_way:
            return
        if child is self._old:
            self._old = None
            if self._new is None or self._new.state == READY:
                self._tell(f"{child.name}: process {pid} has ended")
                self._next()
        elif child is self._new and self._old is not None and self._old.state == READY:
            self._fail(f"{child.name}: the new process {child.failure}; the old one goes on")

    def stop(self, reason: str) -> None:
        """Replace no more."""
        if self.under_way:
            self._fail(reason)

    def _next(self) -> None:
        self._cancel()
        while self._places:
            old = self._places.pop(0)
            if old.state == READY and old in self._tree.children:
                self._old = old
                self._new = self._tree.replace(old)
                if self._new.pid:
                    self._tell(f"{old.name}: process {self._new.pid} starts")
                else:
                    self._fail(f"{old.name}: a new process {self._new.failure}; the old one goes on")
                return
        self._journal.info("every process was replaced")
        self._finish({"ok": True, "body": {"restarted": list(self._done.values())}})

    def _too_slow(self, old: Child) -> None:
        if old is self._old:
            self._journal.warning(f"{old.name} did not finish in time and is killed", pid=old.pid)
            self._tree.kill([old])

    def _fail(self, reason: str) -> None:
        self._journal.error("the restart was broken off", reason=reason)
        self._finish({"ok": False, "error": reason})

    def _finish(self, outcome: dict[str, Any]) -> None:
        self._cancel()
        reply, self._reply = self._reply, None
        self._places = []
        self._old = self._new = None
        if reply is not None:
            reply(outcome)

    def _tell(self, step: str) -> None:
        if self._reply is not None:
            self._reply({"progress": step})

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
