"""One edge process: starts what the supervisor's boot message says, serves until told to drain."""

from __future__ import annotations

import asyncio
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
from portico.edge.callers import Callers
from portico.edge.collector import Collector
from portico.edge.exchange import Step
from portico.edge.explain.explainer import Explainer
from portico.edge.limits.keeper import Keeper
from portico.edge.listener import Listener
from portico.edge.plan import CompiledRoute, Plan
from portico.edge.record import Recorder, RouteStats
from portico.edge.routes import Table
from portico.edge.spool import Spool
from portico.edge.state import EdgeState
from portico.edge.sweep import part, sweep
from portico.edge.tracing.spans import Spans
from portico.errors import PluginError, PorticoError
from portico.kernel import discovery
from portico.kernel.channel import AsyncChannel, Message
from portico.kernel.container import ServiceContainer
from portico.kernel.lifecycle import Lifecycle
from portico.kernel.order import EDGE, for_role
from portico.telemetry import logs
from portico.telemetry.lag import LoopLag
from portico.telemetry.spool import SpoolKey

USAGE: Final = "usage"  # the plugin that takes in what is counted here
SWEEP: Final = 0.2  # seconds between two looks for what has waited too long
ASK_TIMEOUT: Final = 2.0
PARTING: Final = 0.5  # seconds for the last bytes, when the time for draining is over


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
        self.spool = Spool(boot["spool"], self.recorder.usage)
        self.spool_key = spool_key(boot["keys"])
        key = bytes.fromhex(boot["keys"]["principal"])
        self.callers = Callers(boot["services_socket"] or "", key)
        self.keeper = Keeper(self.snapshot, os.path.dirname(boot["logs_dir"]), boot["index"])
        self.builder = Builder(self.recorder, self.ask, key, self.callers, self.keeper)
        self.spans = Spans(self.callers.wire, f"edge-{boot['index']}")
        self.listeners: list[Listener] = []
        self.questions: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.asked = 0
        self.began = time.monotonic()
        self.finished = asyncio.Event()
        self.accepting = True
        self.collector = Collector()
        self.lag = LoopLag(asyncio.get_running_loop())
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
        await self.keeper.start()
        try:
            state.plan = self.builder.build(self.snapshot, state)
            state.tracer = self.spans.tracer(self.snapshot.tracing, state.principal_key)
            self.recorder.log.start()
            self._record_usage()
            self.callers.start()
            self._listen(state)
            loop.add_signal_handler(signal.SIGTERM, self.drain)
            self.collector.start(time.monotonic())
            self.lag.start()
            self.channel.send({"type": "ready"})
            await self._serve(state)
        finally:
            await self.spans.stop()
            await self.callers.stop()
            await self.keeper.stop()
            await self.lifecycle.stop()
            self.recorder.log.stop()
            self.spool.stop()
        self.channel.send({"type": "drained", "report": self.counters(state, self.recorder.report())})

    def _configure_logs(self, snapshot: contracts.Snapshot) -> None:
        logs.configure(snapshot.log_level, snapshot.log_format, sys.stderr, process=f"edge-{self.boot['index']}")

    def _listen(self, state: EdgeState) -> None:
        metrics = {listen.name for listen in self.snapshot.server.listen if listen.metrics}
        board = Board(self.boot["runtime_dir"], self.boot["index"], self.snapshot.server.workers)
        if self.snapshot.server.workers > 1:
            board.open()
        for entry in self.boot["listeners"]:
            name = entry["name"]
            listener = Listener(name, socket.socket(fileno=entry["fd"]), state, board, name in metrics)
            listener.start()
            self.listeners.append(listener)

    async def _serve(self, state: EdgeState) -> None:
        sweeper = asyncio.create_task(self._sweep(state))
        receiver = asyncio.create_task(self._receive(state))
        await self.finished.wait()
        for task in (sweeper, receiver):
            task.cancel()

    async def _sweep(self, state: EdgeState) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            now = time.monotonic()
            sweep(state, now)
            self.recorder.log.flush()
            self.keeper.turn(now)
            self.spool.turn(now)
            self.collector.turn(time.monotonic(), state.in_flight > 0)
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
                self.drain(message.get("accept", 0.0))
            elif kind == "renew":
                self._renew(state, message["upstream"])
            elif kind == "keys":
                self.spool_key = spool_key(message["keys"])
                self._record_usage()
            elif kind == "ask" and message["what"] == "explain":
                state.spawn(self._explain(message, state))
            elif kind == "ask":
                self.channel.send({"type": "answer", "id": message["id"], "body": self._answer(message, state)})
            elif kind == "answer":
                self._answered(message)

    async def _reload(self, state: EdgeState, text: str) -> None:
        snapshot = contracts.load(text)
        try:
            await self._change(state, snapshot)
        except Exception as error:
            self.log.error("the new configuration can't be used; the last one goes on", error=str(error))
            sentence = str(error) if isinstance(error, PorticoError) else f"{type(error).__name__}: {error}"
            self.channel.send({"type": "refused", "version": snapshot.version, "error": sentence})
            return
        self._configure_logs(snapshot)
        self.snapshot = snapshot
        state.tracer = self.spans.tracer(snapshot.tracing, state.principal_key)
        self.recorder.log.reopen()
        self._record_usage()
        for connection in state.connections:
            connection.forwarded.trust(state.plan.trusted)
        self.channel.send({"type": "reloaded", "version": snapshot.version})

    def _record_usage(self) -> None:
        """Count usage if there is somebody who takes it in."""
        if self.boot["spool"] and any(plugin.id == USAGE for plugin in self.snapshot.plugins):
            self.spool.start(self.spool_key)
        else:
            self.spool.stop()

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

    def _renew(self, state: EdgeState, upstream: str) -> None:
        """Use none of the connections to `upstream` any longer than for the exchange that each is busy with."""
        self.callers.renew()
        try:
            state.plan = self.builder.renewed(upstream, self.snapshot, state)
        except Exception as error:
            self.log.error("the connections to an upstream could not be renewed", upstream=upstream, cause=str(error))

    async def ask(self, what: str) -> dict[str, Any]:
        """Ask the supervisor; TimeoutError when it takes too long, ConnectionError when it can't tell."""
        self.asked += 1
        number = self.asked
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.questions[number] = future
        self.channel.send({"type": "ask", "id": number, "what": what})
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                return await future
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

    def _answer(self, message: Message, state: EdgeState) -> dict[str, Any]:
        if message["what"] == "counters":
            return self.counters(state, self.recorder.page(int(message["page"]["first"])))
        return self.report(state)

    async def _explain(self, message: Message, state: EdgeState) -> None:
        try:
            body = await Explainer(state).explain_live(message["question"])
        except ValueError as error:
            body = {"error": f"the question can't be read: {error}"}
        self.channel.send({"type": "answer", "id": message["id"], "body": body})

    def drain(self, accept: float = 0.0) -> None:
        """Take no more connections; exit when the last has ended, or when `limits.drain` has passed.

        For `accept` seconds what comes to the listening sockets is still taken: the supervisor has seen to it that
        no more than the rest of what had begun before will come.
        """
        state = self.state
        if state is None or state.draining:
            return
        state.draining = True
        if accept > 0.0:
            state.loop.call_later(min(accept, state.plan.drain / 2.0), self._stop_accepting)
        else:
            self._stop_accepting()
        for connection in list(state.connections):
            connection.drain()
        state.loop.call_later(SWEEP, self._idle)
        state.loop.call_later(state.plan.drain, self._part, state)

    def _part(self, state: EdgeState) -> None:
        """What has not ended in its time, ends now; tunnels in good order."""
        part(state)
        state.loop.call_later(PARTING, self.finished.set)

    def _stop_accepting(self) -> None:
        for listener in self.listeners:
            listener.stop()
        self.accepting = False
        self.channel.send({"type": "taken"})

    def _idle(self) -> None:
        """The last connection may have closed: then the draining is over, unless others are being set up."""
        state = self.state
        if state is None or not state.draining or self.accepting:
            return
        if not state.connections and not state.tasks:
            self.finished.set()

    def counters(self, state: EdgeState, counters: dict[str, Any]) -> dict[str, Any]:
        """What the metrics show of this process: what the recorder counted, and what others did."""
        if counters["counts"]:
            counters["counts"].update(self.callers.counts())
            counters["counts"]["spans_dropped"] = self.spans.dropped
            counters["counts"].update(self.spool.counts())
            counters["gauges"] = {"connections": len(state.connections), "in_flight": state.in_flight}
        return counters

    def report(self, state: EdgeState) -> dict[str, Any]:
        """What `portico status` shows of this process."""
        return {
            "pid": os.getpid(),
            "age": time.monotonic() - self.began,
            "rss": resident(),
            "requests": self.recorder.total,
            "connections": len(state.connections),
            "in_flight": state.in_flight,
            "upstreams": [upstream.report() for _, upstream in self.builder.upstreams.values()],
            "lag": self.lag.p99(),
            "gc": self.collector.report(),
        }

    def _trouble(self, what: str, error: BaseException, request_id: str) -> None:
        self.log.error(what, exc_info=error, request_id=request_id)


async def started(snapshot: contracts.Snapshot) -> Lifecycle:
    """The plugins of `snapshot` that the edge runs, started; PluginError names the one that fails."""
    made = [discovery.instantiate(spec.id, spec.factory, spec.config) for spec in snapshot.plugins]
    lifecycle = Lifecycle(for_role(made, EDGE), ServiceContainer())
    await lifecycle.start()
    return lifecycle


def spool_key(keys: dict[str, str]) -> SpoolKey | None:
    """The key of the spool among those that the supervisor knows; None: the services have not told it yet."""
    return SpoolKey(bytes.fromhex(keys["spool"])) if "spool" in keys else None


def resident() -> int:
    """Resident memory in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
