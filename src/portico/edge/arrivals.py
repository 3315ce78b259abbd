"""Connections that still have to say who they are, before HTTP begins: PROXY header, TLS handshake."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, Final

from portico.edge.client import ClientConnection
from portico.edge.forwarded import trusted
from portico.edge.proxyproto import HeaderReader, ProxyHeaderError
from portico.edge.secure import SecureConnection
from portico.edge.state import EdgeState
from portico.edge.tls import ServerTls, reason
from portico.telemetry import logs

AT_ONCE: Final = 1024  # connections of one listener that may be on their way
PATIENCE: Final = 1.0  # seconds after which one gives way to another, when there are so many
TELL_EVERY: Final = 1.0  # seconds between two lines in the log, however many fail
TLS: Final = "tls_handshake_failed"
PROXY: Final = "proxy_header_invalid"
SENTENCES: Final = {TLS: "a TLS handshake failed", PROXY: "a connection without a valid PROXY header was closed"}


class Arrivals:
    """Those of one listener. Bounded in number, and each by `limits.header_timeout`."""

    def __init__(self, name: str, state: EdgeState, metrics: bool) -> None:
        self.name = name
        self.state = state
        self.metrics = metrics
        self.log = logs.get("portico.edge")
        self.under_way: dict[asyncio.Task[None], float] = {}  # since when, the oldest first
        self.told = 0.0
        self.untold = 0

    def room(self) -> bool:
        """Whether one more may begin; when it is full, the one that takes longest may have to go."""
        if len(self.under_way) < AT_ONCE:
            return True
        task, since = next(iter(self.under_way.items()))
        if time.monotonic() - since < PATIENCE:
            return False
        task.cancel()
        self._ended(task)
        return True

    def receive(self, sock: socket.socket, peer: bytes, tls: ServerTls | None) -> None:
        """Take a connection in."""
        task = self.state.loop.create_task(self._receive(sock, peer, tls))
        self.under_way[task] = time.monotonic()
        self.state.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.under_way.pop(task, None)
        self.state.tasks.discard(task)

    async def _receive(self, sock: socket.socket, peer: bytes, tls: ServerTls | None) -> None:
        plan = self.state.plan
        handed = False
        try:
            async with asyncio.timeout(plan.header_timeout):
                told = await self._header(sock, peer) if plan.proxy_protocol else None
                handed = True
                if tls is None:
                    await self._plain(sock, told or peer)
                else:
                    await self._secure(sock, told or peer, tls)
        except (ProxyHeaderError, OSError, asyncio.CancelledError) as error:
            self._failed(TLS if handed else PROXY, peer, error)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            if not handed:
                sock.close()

    async def _header(self, sock: socket.socket, peer: bytes) -> bytes | None:
        """The client's address as the proxy tells it."""
        networks = self.state.plan.trusted
        if networks and not trusted(peer, networks):
            raise ProxyHeaderError("it comes from no address in server.trusted_proxies")
        sock.setblocking(False)
        reader = HeaderReader(sock)
        if not reader.read():
            arrived: asyncio.Future[None] = self.state.loop.create_future()
            self.state.loop.add_reader(sock.fileno(), self._more, reader, arrived)
            try:
                await arrived
            finally:
                self.state.loop.remove_reader(sock.fileno())
        return reader.peer

    def _more(self, reader: HeaderReader, arrived: asyncio.Future[None]) -> None:
        if arrived.done():
            return
        try:
            if reader.read():
                arrived.set_result(None)
        except (ProxyHeaderError, OSError) as error:
            arrived.set_exception(error)

    async def _plain(self, sock: socket.socket, peer: bytes) -> None:
        loop: Any = self.state.loop
        connection = ClientConnection(self.state, b"http", self.metrics, peer)
        try:
            await loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:
            sock.close()

    async def _secure(self, sock: socket.socket, peer: bytes, tls: ServerTls) -> None:
        """Shake hands; the client's connection takes over when that is done."""
        loop: Any = self.state.loop
        app = ClientConnection(self.state, b"https", self.metrics, peer)
        connection = SecureConnection(loop, app, tls.context, self.state.scratch, True, None)
        try:
            await loop.connect_accepted_socket(connection.itself, sock)
            await connection.ready
        except BaseException:
            connection.abort()
            if connection.transport is None:
                sock.close()
            raise

    def _failed(self, what: str, peer: bytes, error: BaseException) -> None:
        """Count it always, tell it now and then: who sends garbage must not fill the log."""
        self.state.recorder.count(what)
        now = time.monotonic()
        if isinstance(error, ConnectionError):
            return  # it went without a word, as a port that is probed is used to
        if now - self.told < TELL_EVERY:
            self.untold += 1
            return
        late = isinstance(error, (TimeoutError, asyncio.CancelledError))
        why = "it took too long" if late else reason(error)
        self.log.info(SENTENCES[what], listener=self.name, client=peer.decode(), reason=why, more=self.untold)
        self.told = now
        self.untold = 0
