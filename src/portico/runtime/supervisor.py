"""`portico up`: one thread that owns the sockets, keeps the processes alive and does as signals and callers ask."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from portico import __version__, contracts
from portico.errors import StartError
from portico.kernel.channel import Message
from portico.runtime import banner, call, explain, paths, secret, status
from portico.runtime.build import Builder
from portico.runtime.child import READY, STARTING, Child
from portico.runtime.control_server import ControlServer, Reply
from portico.runtime.demo import Demo
from portico.runtime.gather import Gatherer
from portico.runtime.journal import Journal
from portico.runtime.listeners import Listener, open_listeners
from portico.runtime.lock import PidFile
from portico.runtime.loop import Loop
from portico.runtime.options import ECHO, EDGE, SERVICES, UpOptions
from portico.runtime.private import PrivateSocket
from portico.runtime.reload import Reloader
from portico.runtime.restart import Restarter
from portico.runtime.scrape import Scraper
from portico.runtime.stopping import Shutdown
from portico.runtime.tree import Tree
from portico.telemetry.spool import measure

SPOOL: Final = "spool"  # the folder in the data directory, and its key
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
QUEUE_PATIENCE: Final = 2.0  # seconds in which draining workers should have taken what waits in the accept queue
CRASH_PATIENCE: Final = 2.0  # seconds in which the workers of a gateway that was killed should have ended
INTERRUPTED: Final = 130  # exit code after a second SIGINT, as shells count it


class Supervisor:
    """One gateway, from start to end. `run` answers the exit code."""

    def __init__(self, options: UpOptions) -> None:
        self.options = options
        self.began = time.monotonic()
        self.started = time.time()
        self.journal = Journal()
        self.loop = Loop()
        self.tree = Tree(self.loop, self.journal, self)
        self.demo = Demo(options) if options.demo else None
        self.builder = Builder(options)
        self.reloads = Reloader(self.loop, self.tree, self.journal, self.builder)
        self.gatherer = Gatherer(self.loop)
        self.scraper = Scraper(self.loop, self.gatherer, self.tree)
        self.shutdown = Shutdown(self.loop, self.tree, self.journal, self.loop.stop)
        self.restarts = Restarter(self.loop, self.tree, self.journal, self._drain)
        self.private = PrivateSocket(self.loop, self.tree)
        self.listeners: list[Listener] = []
        self.keys = {"principal": secrets.token_hex(32)}
        self.passphrase: str | None = None
        self.hot = status.Hot()
        self.failure = ""
        self.announced = False
        self.was_ready = False
        self.data_dir = Path()
        self.runtime_dir = Path()
        self.control: ControlServer | None = None

    def run(self) -> int:
        """Serve until stopped. Raises a PorticoError when the gateway can't start."""
        self.passphrase = secret.take(os.environ)
        with contextlib.ExitStack() as stack:
            stack.callback(self.loop.close)
            self._prepare(stack)
            self.loop.take_signals(SIGNALS, self._on_signal)
            self._start_children()
            snapshot = self.reloads.snapshot
            self.journal.open(snapshot.log_level, snapshot.log_format)
            self.loop.run()
        if self.failure:
            raise StartError(self.failure)
        return INTERRUPTED if self.shutdown.immediate else 0

    # -- starting

    def _prepare(self, stack: contextlib.ExitStack) -> None:
        """Everything that can be refused before a process is started."""
        if self.demo is not None:
            self._hold(self.demo.data_dir, stack)
            self.demo.prepare()
            stack.callback(self.demo.close)
        snapshot = self.reloads.first().snapshot
        if self.demo is None:
            self._hold(Path(snapshot.data_dir), stack)
        self.runtime_dir = paths.make_runtime_dir(self.data_dir)
        stack.callback(paths.remove_runtime_dir, self.runtime_dir)
        self.private.path = self.runtime_dir / "services.sock"
        stack.callback(self.private.close)
        if self.options.runs(EDGE):
            # Whoever was killed has left its record, and maybe workers that are about to end.
            patience = CRASH_PATIENCE if paths.read_record(self.data_dir) is not None else 0.0
            self.listeners = open_listeners(snapshot.server.listen, patience)
            stack.callback(self._stop_listening)
        control = self.control = ControlServer(self.loop, self.runtime_dir / "control.sock", self._asked)
        stack.callback(control.close)
        control.open()
        self._record().write()
        stack.callback((self.data_dir / paths.RECORD).unlink, missing_ok=True)

    def _hold(self, wanted: Path, stack: contextlib.ExitStack) -> None:
        self.data_dir = paths.prepare_data_dir(wanted)
        lock = PidFile(self.data_dir)
        lock.acquire_after_commands()
        stack.callback(lock.release)

    def _record(self) -> paths.Record:
        return paths.Record(
            pid=os.getpid(),
            control=str(self.runtime_dir / "control.sock"),
            runtime_dir=str(self.runtime_dir),
            data_dir=str(self.data_dir),
            config=str(self.builder.config.absolute()) if self.builder.config is not None else "",
            listeners=tuple(listener.address for listener in self.listeners),
            started=self.started,
            version=__version__,
        )

    def _start_children(self) -> None:
        server = self.reloads.snapshot.server
        if self.options.runs(EDGE):
            for index in range(server.workers):
                self.tree.add(Child(EDGE, index, "portico.edge"))
        if self.options.runs(SERVICES):
            for index in range(server.services_processes):
                self.tree.add(Child(SERVICES, index, "portico.services"))
        if self.demo is not None:
            self.tree.add(Child(ECHO, 0, "portico.testing.echo", "--channel"))
        self.scraper.start()

    def _stop_listening(self) -> None:
        while self.listeners:
            self.listeners.pop().end()

    # -- what the tree tells and asks

    def boot(self, child: Child) -> tuple[Message, list[int]]:
        """The boot message of a new process, and the descriptors that it inherits."""
        snapshot = self.reloads.snapshot
        child.sent_version = snapshot.version
        listeners: list[dict[str, Any]] = []
        if child.role == EDGE:
            listeners = [{"name": each.name, "fd": each.sock.fileno()} for each in self.listeners]
        elif child.role == SERVICES:
            listeners = [{"name": SERVICES, "fd": self.private.fileno()}]
        elif child.role == ECHO and self.demo is not None:
            listeners = [{"name": ECHO, "fd": self.demo.fileno()}]
        message = {
            "type": "boot",
            "role": child.role,
            "index": child.index,
            "snapshot": contracts.dump(secret.for_role(snapshot, child.role)),
            "keys": self.keys if child.role == EDGE else {"principal": self.keys["principal"]},
            "listeners": listeners,
            "services_socket": str(self.private.path),
            "runtime_dir": str(self.runtime_dir),
            "data_dir": str(self.data_dir),
            "logs_dir": str(self.data_dir / "logs"),
            "spool": str(self.data_dir / SPOOL) if self.options.runs(SERVICES) else "",  # "": nobody takes it in
        }
        if child.role == SERVICES:
            message["passphrase"] = self.passphrase
        return message, [each["fd"] for each in listeners]

    def is_ready(self, child: Child) -> None:
        """Say so when the gateway is; give the child what changed while it started."""
        self.reloads.catch_up()
        self.private.is_ready(child)
        self.restarts.is_ready(child)
        whole = not self.was_ready and all(each.state == READY for each in self.tree.children)
        self.was_ready = self.was_ready or whole
        people = not self.options.as_json  # are served from the edge's readiness on; programs are told of the whole
        first = (people and (self.tree.of(EDGE) or self.tree.of(SERVICES))) or self.tree.children
        if not self.announced and all(each.state == READY for each in first):
            self.announced = True
            self._announce()
        if whole and people and self.tree.of(SERVICES):
            _print(banner.whole(self.data_dir, time.monotonic() - self.began))

    def _announce(self) -> None:
        seconds = time.monotonic() - self.began
        if self.options.as_json:
            lines = [json.dumps({"ready_after": round(seconds, 3), **self._status()})]
        else:
            lines = banner.summary(
                [listener.address for listener in self.listeners],
                str(self.builder.config or "defaults"),
                self.data_dir,
                self.options.role,
                self.hot.look()[0],
                seconds,
            )
            if self.demo is not None and self.listeners:
                lines += self.demo.hints(self.listeners[0].address)
        _print(lines)
        assert self.reloads.current is not None
        for warning in self.reloads.current.warnings:
            self.journal.warning(warning)

    def heard(self, child: Child, message: Message) -> None:
        """A child's message."""
        match message.get("type"):
            case "reloaded" | "refused":
                self.reloads.heard(child, message)
            case "answer":
                self.gatherer.answered(child, message)
            case "ask":
                self._child_asks(child, message)
            case "keys" if child.role == SERVICES:
                self._key_told(str(message["keys"][SPOOL]))
            case "taken":
                child.deaf = True
                self._queue_taken()
            case "drained":
                if not self.shutdown.begun:
                    self.scraper.last(child, message.get("report"))
            case kind:
                self.journal.warning(f"{child.name} sent a message nobody knows", kind=str(kind))

    def _key_told(self, key: str) -> None:
        """The key of the spool, which the vault has and the edge needs; nothing but memory keeps it here."""
        if self.keys.get(SPOOL) == key:
            return
        self.keys[SPOOL] = key
        for edge in self.tree.of(EDGE):
            self.tree.send(edge, {"type": "keys", "keys": {SPOOL: key}})

    def has_ended(self, child: Child, pid: int) -> None:
        """A process is gone."""
        self.scraper.retire(child, pid)
        self.gatherer.lost(pid)
        self.reloads.lost(child, pid)
        self.private.has_ended(child)
        self.restarts.has_ended(child, pid)
        self._queue_taken()
        self.shutdown.has_ended()

    def cannot_start(self, child: Child, reason: str) -> None:
        """A child was never ready and won't be: neither will the gateway."""
        self.failure = reason if child.failure else f"{child.name} {reason} before it was ready"
        self.stop()

    def _child_asks(self, child: Child, message: Message) -> None:
        pid, number = child.pid, message.get("id")

        def answer(body: dict[str, Any]) -> None:
            if child.pid == pid:
                self.tree.send(child, {"type": "answer", "id": number, **body})

        match message.get("what"):
            case "health":
                dependencies = status.dependencies(self.tree.ready(SERVICES))
                answer({"body": {"edge": self._half(EDGE), "services": self._half(SERVICES), **dependencies}})
            case "status":
                edges = self.tree.ready(EDGE)
                self.gatherer.ask(
                    edges, "report", lambda told: answer({"body": status.brief(self.started, told)}), status.PATIENCE
                )
            case "metrics":
                self.scraper.scrape(lambda: answer({"body": {"text": self._metrics()}}))
            case what:
                answer({"error": f"nobody here knows about {what!r}"})

    def _half(self, role: str) -> str:
        children = self.tree.of(role)
        if not children:
            return "absent"
        if any(child.state == READY for child in children):
            return "ok"
        return "starting" if any(child.state == STARTING for child in children) else "down"

    def _metrics(self) -> str:
        return self.scraper.totals().render(
            version=__version__,
            python=platform.python_version(),
            compiled=self.hot.look()[0],
            reloads_ok=self.reloads.ok,
            reloads_failed=self.reloads.failed,
            lag=self.scraper.lag(),
            spool=measure(self.data_dir / SPOOL),
        )

    # -- signals and callers

    def _on_signal(self, number: int) -> None:
        match number:
            case signal.SIGCHLD:
                self.tree.reap()
            case signal.SIGHUP:
                self.reloads.begin()
            case signal.SIGINT if self.shutdown.begun:
                self.journal.warning("interrupted again: stopping at once")
                self.shutdown.at_once()
            case _:
                self.stop()

    def stop(self) -> None:
        """Take no more connections and stop in order."""
        if not self.shutdown.begun:
            self.journal.info("stopping: what is in flight is finished first")
            self.restarts.stop("the gateway is stopping")
            for listener in self.listeners:
                listener.take_no_more()
            self.shutdown.begin(self._drain())
            self.loop.later(QUEUE_PATIENCE, self._stop_listening)

    def _drain(self) -> float:
        return self.reloads.snapshot.server.limits.drain

    def _queue_taken(self) -> None:
        """When no worker takes any more, what still comes must not wait for one."""
        if self.shutdown.begun and all(edge.deaf or edge.process is None for edge in self.tree.of(EDGE)):
            self._stop_listening()

    def _asked(self, what: str, asked: dict[str, Any], reply: Reply) -> None:
        match what:
            case "status":
                children = self.tree.answering(EDGE, SERVICES, ECHO)
                self.gatherer.ask(children, "report", lambda _: reply({"ok": True, "body": self._status()}))
            case "reload" | "restart" if self.shutdown.begun:
                reply({"ok": False, "error": "the gateway is stopping"})
            case "reload":
                self.reloads.begin(reply)
            case "restart":
                self.restarts.begin(reply)
            case "explain":
                workers = self.tree.ready(EDGE)
                explain.answer(self.gatherer, workers, asked.get("question"), self.reloads.snapshot, reply)
            case "services":
                call.answer(self.gatherer, self.tree, self.options.role, asked.get("call"), reply)
            case "down":
                reply({"ok": True, "body": {"pid": self._record().pid}})
                self.stop()
            case _:
                reply({"ok": False, "error": "what can be asked is: status, reload, restart, explain, services, down"})

    def _status(self) -> dict[str, Any]:
        now = time.monotonic()
        reloads = self.reloads
        return {
            "state": status.overall(self.tree.children, self.was_ready, self.shutdown.begun),
            **status.about(self.started, self.hot),
            "role": self.options.role,
            "config": {
                "file": self._record().config,
                "version": reloads.snapshot.version,
                "loaded": status.timestamp(reloads.loaded_at),
                "reloads": {"ok": reloads.ok, "failed": reloads.failed},
                "last_error": reloads.last_error or None,
            },
            "data_dir": str(self.data_dir),
            "logs": str(self.data_dir / "logs"),
            "listeners": [listener.address for listener in self.listeners],
            **status.dependencies(self.tree.ready(SERVICES)),
            "processes": [status.process_status(child, now) for child in self.tree.children],
        }


def _print(lines: list[str]) -> None:
    with contextlib.suppress(OSError):  # nobody reads what we print
        print("\n".join(lines), flush=True)


def main(options: UpOptions) -> int:
    """Run a gateway in the foreground; the exit code."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return Supervisor(options).run()
