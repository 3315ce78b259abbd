"""Takes connections from the listening sockets that the supervisor opened."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from portico.edge.arrivals import Arrivals
from portico.edge.board import Board
from portico.edge.client import ClientConnection
from portico.edge.state import EdgeState

COURTESY: Final = 0.003  # seconds in which workers with fewer connections go first
LEFT_OVER: Final = 8  # connections taken after that
FULL: Final = 0.02  # seconds until another look, when too many connections are on their way
BUSY_BODY: Final = (
    b'{"type":"urn:portico:problem:too_many_connections","title":"Service Unavailable","status":503,'
    b'"code":"too_many_connections","detail":"the gateway holds as many connections as it may",'
    b'"hint":"try again after Retry-After seconds; reuse connections"}'
)
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(BUSY_BODY), BUSY_BODY)
)


class Listener:
    """One listening socket. It takes one connection a wake, so that workers that share the socket share the work."""

    def __init__(self, name: str, sock: socket.socket, state: EdgeState, board: Board, metrics: bool) -> None:
        self.name = name
        self.sock = sock
        self.state = state
        self.board = board
        self.metrics = metrics
        self.waiting: asyncio.TimerHandle | None = None
        self.arrivals = Arrivals(name, state, metrics)

    def start(self) -> None:
        """Begin to take connections."""
        self.sock.setblocking(False)
        self.state.loop.add_reader(self.sock.fileno(), self._wake)

    def stop(self) -> None:
        """Take what waits in the queue, for there may be no other worker to take it, and then no more."""
        self.state.loop.remove_reader(self.sock.fileno())
        if self.waiting is not None:
            self.waiting.cancel()
        while self._take():
            pass
        self.sock.close()

    def _wake(self) -> None:
        connections = len(self.state.connections)
        self.board.publish(connections)
        if self.board.ahead(connections):
            self._later(COURTESY)
        elif self.arrivals.room():
            self._take()
        else:
            self._later(FULL)

    def _later(self, seconds: float) -> None:
        self.state.loop.remove_reader(self.sock.fileno())
        self.waiting = self.state.loop.call_later(seconds, self._take_late)

    def _take_late(self) -> None:
        """Those who were to go first have had their time: take what they left, so that no stuck worker delays it."""
        self.waiting = None
        self.state.loop.add_reader(self.sock.fileno(), self._wake)
        for _ in range(LEFT_OVER):
            if not self.arrivals.room() or not self._take():
                return

    def _take(self) -> bool:
        """Take one connection; False when there was none."""
        try:
            sock, address = self.sock.accept()
        except OSError:
            return False  # another worker was quicker, or the client has left again
        state = self.state
        state.recorder.count("connections_accepted")
        plan = state.plan
        tls = plan.tls.get(self.name)
        bare = tls is None and not plan.proxy_protocol
        if len(state.connections) + len(self.arrivals.under_way) >= plan.connections:
            refuse(sock) if bare else sock.close()
            return True
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if bare:
            state.spawn(self._attach(sock))
        else:
            self.arrivals.receive(sock, peer_of(address), tls)
        return True

    async def _attach(self, sock: socket.socket) -> None:
        loop: Any = self.state.loop
        try:
            await loop.connect_accepted_socket(self._connection, sock)
        except OSError:
            sock.close()

    def _connection(self) -> ClientConnection:
        return ClientConnection(self.state, b"http", self.metrics)


def peer_of(address: Any) -> bytes:
    """The address of a peer without port and zone; empty on a Unix socket."""
    return str(address[0]).partition("%")[0].encode() if isinstance(address, tuple) else b""


def refuse(sock: socket.socket) -> None:
    """Say that there are too many connections, and close."""
    with sock:
        try:
            sock.send(BUSY, socket.MSG_DONTWAIT)
        except OSError:
            return  # the client has left already
