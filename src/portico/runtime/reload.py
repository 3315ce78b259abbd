"""A reload: every child takes the new snapshot, or all go on with the last good one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from portico import contracts
from portico.contracts import Snapshot
from portico.errors import ConfigError, PorticoError
from portico.kernel.channel import Message
from portico.runtime.build import Builder, Built
from portico.runtime.child import Child
from portico.runtime.journal import Journal
from portico.runtime.loop import Loop
from portico.runtime.options import ECHO, EDGE, SERVICES
from portico.runtime.secret import for_role
from portico.runtime.tree import Tree

PATIENCE: Final = 15.0  # seconds for every child to take a snapshot

Outcome = dict[str, Any]  # as the control socket answers
Done = Callable[[Outcome], None]


class Reloader:
    """Keeps the snapshot that is running and replaces it, one at a time."""

    def __init__(self, loop: Loop, tree: Tree, journal: Journal, builder: Builder) -> None:
        self.current: Built | None = None
        self.ok = 0
        self.failed = 0
        self.last_error = ""
        self.loaded_at = 0.0  # seconds since 1970
        self._loop = loop
        self._tree = tree
        self._journal = journal
        self._builder = builder
        self._version = 0  # of the newest snapshot made
        self._candidate: Built | None = None
        self._waiting: set[int] = set()  # pids
        self._done: Done = _nobody
        self._again = False  # SIGHUP came meanwhile: the file may have changed once more

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that is running."""
        assert self.current is not None
        return self.current.snapshot

    def first(self) -> Built:
        """The snapshot to start with. ConfigError or PluginError when there is none."""
        self._version += 1
        self.current = self._builder.build(self._version)
        self.loaded_at = time.time()
        return self.current

    def begin(self, done: Done | None = None) -> None:
        """Read the configuration again and offer it to every child; `done` is told what came of it."""
        if self._candidate is not None:
            self._again = True
            if done is not None:
                done({"ok": False, "error": "another reload is under way; ask again"})
            return
        self._done = done or _nobody
        self._version += 1
        try:
            candidate = self._builder.build(self._version)
            assert self.current is not None
            self._builder.must_fit(self.current, candidate)
        except ConfigError as error:
            self._refuse(str(error), [problem_json(problem) for problem in error.problems])
            return
        except PorticoError as error:
            self._refuse(str(error))
            return
        self._offer(candidate)

    def _offer(self, candidate: Built) -> None:
        self._candidate = candidate
        self._waiting = set()
        for child, text in self._texts(candidate.snapshot):
            pid = child.pid
            if self._send(child, text, candidate.snapshot.version):
                self._waiting.add(pid)
        version = candidate.snapshot.version
        self._loop.later(PATIENCE, lambda: self._too_slow(version))
        self._check()

    def _texts(self, snapshot: Snapshot) -> Iterator[tuple[Child, str]]:
        """Every child that is ready, with the snapshot as its role gets it."""
        for role in (EDGE, SERVICES, ECHO):
            children = self._tree.ready(role)
            text = contracts.dump(for_role(snapshot, role)) if children else ""
            yield from ((child, text) for child in children)

    def _send(self, child: Child, text: str, version: int) -> bool:
        child.sent_version = version
        return self._tree.send(child, {"type": "reload", "snapshot": text})

    def heard(self, child: Child, message: Message) -> None:
        """Take `reloaded` or `refused`."""
        candidate = self._candidate
        if candidate is None or message.get("version") != candidate.snapshot.version or child.pid not in self._waiting:
            return
        self._waiting.discard(child.pid)
        if message["type"] == "refused":
            self._roll_back(f"{child.name} refused it: {message.get('error', '')}")
        else:
            self._check()

    def lost(self, child: Child, pid: int) -> None:
        """A process died; when it was taking the new snapshot, that one is not trusted."""
        if self._candidate is not None and pid in self._waiting:
            self._roll_back(f"{child.name} died while taking it")

    def _too_slow(self, version: int) -> None:
        if self._candidate is not None and self._candidate.snapshot.version == version:
            slow = [child.name for child in self._tree.children if child.pid in self._waiting]
            self._roll_back(f"{', '.join(slow)} did not take it within {PATIENCE:g} s")

    def _check(self) -> None:
        candidate = self._candidate
        if candidate is None or self._waiting:
            return
        self._candidate = None
        self.current = candidate
        self.ok += 1
        self.last_error = ""
        self.loaded_at = time.time()
        self.catch_up()
        version = candidate.snapshot.version
        self._journal.info("the configuration was reloaded", version=version)
        for warning in candidate.warnings:
            self._journal.warning(warning)
        self._finish({"ok": True, "body": {"version": version, "warnings": list(candidate.warnings)}})

    def catch_up(self) -> None:
        """Send the running snapshot to children that began with an older one."""
        if self._candidate is not None or all(
            child.sent_version >= self.snapshot.version for child in self._tree.ready(EDGE, SERVICES, ECHO)
        ):
            return
        for child, text in self._texts(self.snapshot):
            if child.sent_version < self.snapshot.version:
                self._send(child, text, self.snapshot.version)

    def _roll_back(self, reason: str) -> None:
        """Give the last good configuration, as a new version, to every child."""
        self._candidate = None
        self._waiting = set()
        self._version += 1
        assert self.current is not None
        snapshot = dataclasses.replace(self.current.snapshot, version=self._version)
        self.current = dataclasses.replace(self.current, snapshot=snapshot)
        self.catch_up()
        self._refuse(reason)

    def _refuse(self, reason: str, problems: list[dict[str, Any]] | None = None) -> None:
        self.failed += 1
        self.last_error = reason
        self._journal.error("the reload was refused; the last good configuration stays", reason=reason)
        self._finish({"ok": False, "error": reason, "problems": problems or []})

    def _finish(self, outcome: Outcome) -> None:
        done, self._done = self._done, _nobody
        done(outcome)
        if self._again:
            self._again = False
            self._loop.later(0, self.begin)


def problem_json(problem: Any) -> dict[str, Any]:
    """A Problem as the control socket carries it."""
    return {"file": problem.file, "line": problem.line, "path": problem.path, "message": problem.message}


def _nobody(_: Outcome) -> None:
    """Nobody waits for the outcome."""
