"""One edge process: starts what the supervisor's boot message says, serves until told to drain."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import time
from typing import Any, Final

from portico import contracts
from portico.edge.accesslog import AccessLog
from portico.edge.board import Board
from portico.edge.build import Builder
from portico.edge.exchange import Step
from portico.edge.listener import Listener
from portico.edge.plan import CompiledRoute, Plan
from portico.edge.record import Recorder, RouteStats
from portico.edge.routes import Table
from portico.edge.state import EdgeState
from portico.edge.sweep import check
from portico.errors import PluginError
from portico.kernel import discovery
from portico.kernel.channel import AsyncChannel, Message
from portico.kernel.container import ServiceContainer
from portico.kernel.lifecycle import Lifecycle
from portico.kernel.order import EDGE, for_role
from portico.telemetry import logs

SWEEP: Final = 0.2  # seconds between two looks for what has waited too long
COLLECT: Final = 10.0  # seconds between two garbage collections
ASK_TIMEOUT: Final = 2.0


class Worker:
    """The pieces of one edge process, and its conversation with the supervisor."""

    def __init__(self, channel: AsyncChannel, boot: Message) -> None:
        self.channel = channel
        self.boot = boot
        self.log = logs.get("portico.edge")
        self.snapshot = contracts.load(boot["snapshot"])
        self._configure_logs(self.snapshot)
        self.lifecycle = Lifecycle([], ServiceContainer())
        self.recorder = Recorder(AccessLog(os.path.join(boot["logs_dir"], "access.log")))
        self.builder = Builder(self.recorder, self.ask, bytes.fromhex(boot["keys"]["principal"]))
        self.listeners: list[Listener] = []
        self.questions: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.asked = 0
        self.began = time.monotonic()
        self.finished = asyncio.Event()
        self.state: EdgeState | None = None

    async def run(self) -> None:
        """Serve until drained, or until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        nothing = Table([])
        empty: list[Step] = []
        state = EdgeState(loop, Plan(0, nothing, CompiledRoute("", empty, None, RouteStats(""))), self.recorder)
        self.state = state
        state.principal_key = self.builder.principal_key
        state.failed = self._trouble
        state.on_idle = self._idle
        if self.boot["services_socket"]:
            target = contracts.Target("unix:services", path=self.boot["services_socket"])
            self.builder.services = contracts.Upstream(contracts.SERVICES, (target,))
        self.lifecycle = await started(self.snapshot)
        try:
            state.plan = self.builder.build(self.snapshot, state)
            self.recorder.log.start()
            self._listen(state)
            loop.add_signal_handler(signal.SIGTERM, self.drain)
            gc.collect()
            gc.freeze()
            gc.disable()
            self.channel.send({"type": "ready"})
            await self._serve(state)
        finally:
            await self.lifecycle.stop()
            self.recorder.log.stop()
        self.channel.send({"type": "drained"})

    def _configure_logs(self, snapshot: contracts.Snapshot) -> None:
        logs.configure(snapshot.log_level, snapshot.log_format, sys.stderr, process=f"edge-{self.boot['index']}")

    def _listen(self, state: EdgeState) -> None:
        metrics = {listen.name for listen in self.snapshot.server.listen if listen.metrics}
        board = Board(self.boot["runtime_dir"], self.boot["index"], self.snapshot.server.workers)
        if self.snapshot.server.workers > 1:
            board.open()
        for entry in self.boot["listeners"]:
            listener = Listener(socket.socket(fileno=entry["fd"]), state, board, entry["name"] in metrics)
            listener.start()
            self.listeners.append(listener)

    async def _serve(self, state: EdgeState) -> None:
        sweeper = asyncio.create_task(self._sweep(state))
        receiver = asyncio.create_task(self._receive(state))
        await self.finished.wait()
        for task in (sweeper, receiver):
            task.cancel()

    async def _sweep(self, state: EdgeState) -> None:
        collected = time.monotonic()
        while True:
            await asyncio.sleep(SWEEP)
            now = time.monotonic()
            if now - collected > COLLECT:
                collected = now
                gc.collect(1)  # requests make no cycles; what little errors leave behind need not stop one
            for connection in list(state.connections):
                check(connection, now)
            self.recorder.log.flush()
            self._idle()

    # -- the supervisor's messages

    async def _receive(self, state: EdgeState) -> None:
        while True:
            message = await self.channel.receive()
            if message is None:
                os._exit(1)  # the supervisor is gone, and with it the only one who could replace or stop us
            kind = message["type"]
            if kind == "reload":
                await self._reload(state, message["snapshot"])
            elif kind == "drain":
                self.drain()
            elif kind == "ask":
                self.channel.send({"type": "answer", "id": message["id"], "body": self.report(state)})
            elif kind == "answer":
                self._answered(message)

    async def _reload(self, state: EdgeState, text: str) -> None:
        snapshot = contracts.load(text)
        try:
            await self._change(state, snapshot)
        except Exception as error:
            self.log.error("the new configuration can't be used; the last one goes on", error=str(error))
            sentence = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            self.channel.send({"type": "refused", "version": snapshot.version, "error": sentence})
            return
        self._configure_logs(snapshot)
        self.snapshot = snapshot
        self.recorder.log.reopen()
        for connection in state.connections:
            connection.forwarded.trust(state.plan.trusted)
        self.channel.send({"type": "reloaded", "version": snapshot.version})

    async def _change(self, state: EdgeState, snapshot: contracts.Snapshot) -> None:
        """Start what the new snapshot wants, then swap the plan, then stop what nothing wants any longer."""
        changed = snapshot.plugins != self.snapshot.plugins
        lifecycle = await started(snapshot) if changed else self.lifecycle
        try:
            state.plan = self.builder.build(snapshot, state)
        except BaseException:
            if changed:
                await lifecycle.stop()
            raise
        old, self.lifecycle = self.lifecycle, lifecycle
        if changed:
            try:
                await old.stop()
            except PluginError as error:
                self.log.error("plugins failed to stop", error=str(error))

    async def ask(self, what: str) -> dict[str, Any]:
        """Ask the supervisor; TimeoutError when it takes too long, ConnectionError when it can't tell."""
        self.asked += 1
        number = self.asked
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.questions[number] = future
        self.channel.send({"type": "ask", "id": number, "what": what})
        try:
            return await asyncio.wait_for(future, ASK_TIMEOUT)
        finally:
            self.questions.pop(number, None)

    def _answered(self, message: Message) -> None:
        future = self.questions.get(message["id"])
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(ConnectionError(message["error"]))
        else:
            future.set_result(message["body"])

    def drain(self) -> None:
        """Take no more connections; exit when the last has ended, or when `limits.drain` has passed."""
        state = self.state
        if state is None or state.draining:
            return
        state.draining = True
        for listener in self.listeners:
            listener.stop()
        for connection in list(state.connections):
            connection.drain()
        state.loop.call_later(SWEEP, self._idle)
        state.loop.call_later(state.plan.drain, self.finished.set)

    def _idle(self) -> None:
        """The last connection may have closed: then the draining is over, unless others are being set up."""
        state = self.state
        if state is not None and state.draining and not state.connections and not state.tasks:
            self.finished.set()

    def report(self, state: EdgeState) -> dict[str, Any]:
        """What `portico status` and the metrics show of this process."""
        counters = self.recorder.report()
        counters["gauges"] = {"connections": len(state.connections), "in_flight": state.in_flight}
        return {
            "pid": os.getpid(),
            "age": time.monotonic() - self.began,
            "rss": resident(),
            "counters": counters,
            "connections": len(state.connections),
            "in_flight": state.in_flight,
        }

    def _trouble(self, what: str, error: BaseException, request_id: str) -> None:
        self.log.error(what, exc_info=error, request_id=request_id)


async def started(snapshot: contracts.Snapshot) -> Lifecycle:
    """The plugins of `snapshot` that the edge runs, started; PluginError names the one that fails."""
    made = [discovery.instantiate(spec.id, spec.factory, spec.config) for spec in snapshot.plugins]
    lifecycle = Lifecycle(for_role(made, EDGE), ServiceContainer())
    await lifecycle.start()
    return lifecycle


def resident() -> int:
    """Resident memory in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
