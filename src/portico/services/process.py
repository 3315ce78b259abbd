"""The services process: takes its orders from the supervisor, runs the plugins and serves their routes.

From the supervisor: `boot` (once, first), `reload`, `drain`, `ask` what="report" or "call", `answer`. To it: `keys` (of
the vault, for the edge), `ready`, `failed`, `reloaded`, `refused`, `drained`, `answer`, `ask` what="health".
SIGTERM is a drain. When the channel closes, the supervisor is gone and so is this process, at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from portico import contracts
from portico.errors import PluginError, PorticoError
from portico.kernel.channel import AsyncChannel, Message
from portico.services import commands, heap
from portico.services.bind import bind
from portico.services.frame import INTERNAL
from portico.services.generation import Generation
from portico.services.health import EVERY
from portico.services.link import Link
from portico.services.reloads import recorded
from portico.services.server import Server, make
from portico.telemetry import logs
from portico.telemetry.spool import SpoolKey
from portico.telemetry.tracing.process import Tracing

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

NICENESS: Final = 5  # the edge comes first when both want the processor
LEAVE: Final = 1.0  # seconds in which the edge closes its idle connections
LAST_MOMENT: Final = 1.0  # seconds for plugins to stop when the supervisor is gone
STARTUP_POLL: Final = 0.005


async def run(sock: socket.socket) -> int:
    """Serve until drained (0), until the start fails or the supervisor is gone (1); `sock` is the channel's end."""
    channel = AsyncChannel(sock)
    boot = await channel.receive()
    if boot is None:
        return 1
    link = Link(channel)
    process = ServicesProcess(link)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, link.orders.put_nowait, {"type": "drain"})
    listening = asyncio.create_task(link.listen())
    living = asyncio.create_task(process.live(boot))
    await asyncio.wait({listening, living}, return_when=asyncio.FIRST_COMPLETED)
    if living.done():
        listening.cancel()
        return living.result()
    living.cancel()
    await asyncio.wait({living})
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_MOMENT):
            await process.stop(0.0)
    return 1


class ServicesProcess:
    """What runs here now: one generation of plugins, older ones whose last requests are still in flight, the server."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._current: Generation | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._name = "services"
        self._boot = contracts.Boot("")
        self._drain = 0.0
        self._leaving = False
        self._tracing = Tracing()

    async def live(self, boot: Message) -> int:
        """Start, serve, obey; the exit code."""
        try:
            server, sock = await self._start(boot)
        except Exception as error:  # whatever it is, the supervisor is told it in one sentence
            self._link.channel.send({"type": "failed", "error": _sentence("can't start", error)})
            await self.stop(0.0)
            return 1
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        while not (server.started or serving.done()):
            await asyncio.sleep(STARTUP_POLL)
        gc.freeze()  # what was loaded stays; __main__ has switched the collector off for as long
        gc.enable()
        self._link.do = self._do
        self._tell_keys()
        self._link.channel.send({"type": "ready"})
        watching = asyncio.create_task(self._watch())
        while (order := await self._link.orders.get())["type"] == "reload":
            await self._reload(order["snapshot"])
        watching.cancel()
        await self._leave(server)
        server.config.timeout_graceful_shutdown = self._drain  # type: ignore[assignment]  # a reload may have changed it
        server.should_exit = True
        await serving
        await self.stop(self._drain)
        self._link.channel.send({"type": "drained", "report": self._link.counts.report()})
        return 0

    async def _leave(self, server: Server) -> None:
        """Listen no more, and let the other side close its connections: on each of them a request may be on its way."""
        self._leaving = True
        if self._current is not None:
            self._current.host.leaving.set()
        server.take_no_more()
        deadline = time.monotonic() + min(LEAVE, self._drain)
        while server.server_state.connections and time.monotonic() < deadline:
            await asyncio.sleep(STARTUP_POLL)

    async def _start(self, boot: Message) -> tuple[Server, socket.socket]:
        snapshot = contracts.load(boot["snapshot"])
        self._name = f"services-{boot['index']}"
        self._log(snapshot)
        key = bytes.fromhex(boot["keys"]["principal"])
        self._boot = contracts.Boot(boot["data_dir"], boot["index"], boot.get("passphrase"), key)
        self._drain = snapshot.server.limits.drain
        self._tracing = Tracing(self._name)
        await self._tracing.configure(snapshot.tracing)
        self._link.tracing = self._tracing
        self._current = await self._begin(snapshot)
        os.nice(NICENESS)  # not before: what waits for a new process should not wait longer than it must
        inherited = boot.get("listeners")
        sock = socket.socket(fileno=inherited[0]["fd"]) if inherited else bind(Path(boot["services_socket"]))
        return make(self.handle, self._drain, snapshot.server.services_processes > 1), sock

    async def _begin(self, snapshot: contracts.Snapshot) -> Generation:
        return await Generation.begin(snapshot, self._boot, self._link.ask, self._link.counts, tracing=self._tracing)

    def _log(self, snapshot: contracts.Snapshot) -> None:
        logs.configure(snapshot.log_level, snapshot.log_format, sys.stderr, process=self._name)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI) with the plugins of now."""
        assert self._current is not None
        if not scope["path"].startswith(INTERNAL):
            self._link.requests += 1
        await self._current.handle(scope, receive, _Parting(send) if self._leaving else send)

    async def _watch(self) -> None:
        """Keep the report's word on dependencies young."""
        while True:
            assert self._current is not None
            host = self._current.host
            self._link.dependencies = await host.dependencies.check(host.plugins)
            await asyncio.sleep(EVERY)

    async def _do(self, called: Any) -> dict[str, Any]:
        assert self._current is not None
        host = self._current.host
        return await commands.answer(self._current.lifecycle.services, host.snapshot.identity, called)

    async def _reload(self, text: str) -> None:
        snapshot = contracts.load(text)
        if not await self._taken_up(snapshot):
            return
        self._drain = snapshot.server.limits.drain
        self._log(snapshot)
        await self._tracing.configure(snapshot.tracing)
        self._tell_keys()
        self._link.channel.send({"type": "reloaded", "version": snapshot.version})
        await self._record(snapshot)

    async def _taken_up(self, snapshot: contracts.Snapshot) -> bool:
        """Serve by `snapshot`; False when its plugins can't start, and then what runs goes on."""
        current = self._current
        assert current is not None
        if current.serves(snapshot):
            current.host.snapshot = snapshot
            return True
        try:
            self._current = await self._begin(snapshot)
        except Exception as error:
            sentence = _sentence("reload refused", error)
            self._link.channel.send({"type": "refused", "version": snapshot.version, "error": sentence})
            return False
        task = asyncio.create_task(self._retire(current, self._drain))
        self._retiring.add(task)
        task.add_done_callback(self._retired)
        return True

    async def _record(self, snapshot: contracts.Snapshot) -> None:
        """Record that another configuration is served; of several services processes the first does."""
        assert self._current is not None
        if self._boot.index == 0:
            await recorded(self._current.lifecycle.services, snapshot)

    def _tell_keys(self) -> None:
        """The edge seals what it counts with a key of the vault's; it asks nobody, so the supervisor hands it on."""
        assert self._current is not None
        services = self._current.lifecycle.services
        if services.has(SpoolKey):
            self._link.channel.send({"type": "keys", "keys": {"spool": services.get(SpoolKey).secret.hex()}})

    async def _retire(self, generation: Generation, patience: float) -> None:
        try:
            await generation.retire(patience)
        except PluginError as error:
            logs.get("portico.services").error("plugins failed to stop", cause=str(error))

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._retiring.discard(task)
        heap.give_back()

    async def stop(self, patience: float) -> None:
        """Stop the plugins of this generation and of older ones."""
        if self._current is not None:
            await self._retire(self._current, patience)
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=patience)
        await self._tracing.stop()


class _Parting:
    """Sends on, with word that the connection ends after this answer (RFC 9112 9.6)."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await self._send(message)


def _sentence(event: str, error: Exception) -> str:
    """The error in one sentence; logged with its traceback when it is none of ours."""
    ours = isinstance(error, PorticoError)
    logs.get("portico.services").error(event, cause=str(error), exc_info=None if ours else error)
    return str(error) if ours else f"{type(error).__name__}: {error}"
