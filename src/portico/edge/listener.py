"""Takes connections from the listening sockets that the supervisor opened."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from portico.edge.board import Board
from portico.edge.client import ClientConnection
from portico.edge.state import EdgeState

COURTESY: Final = 0.003  # seconds in which workers with fewer connections go first
LEFT_OVER: Final = 8  # connections taken after that
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class Listener:
    """One listening socket. It takes one connection a wake, so that workers that share the socket share the work."""

    def __init__(self, sock: socket.socket, state: EdgeState, board: Board, metrics: bool) -> None:
        self.sock = sock
        self.state = state
        self.board = board
        self.metrics = metrics
        self.waiting: asyncio.TimerHandle | None = None

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
            self.state.loop.remove_reader(self.sock.fileno())
            self.waiting = self.state.loop.call_later(COURTESY, self._take_late)
        else:
            self._take()

    def _take_late(self) -> None:
        """Those who were to go first have had their time: take what they left, so that no stuck worker delays it."""
        self.waiting = None
        self.state.loop.add_reader(self.sock.fileno(), self._wake)
        for _ in range(LEFT_OVER):
            if not self._take():
                return

    def _take(self) -> bool:
        """Take one connection; False when there was none."""
        try:
            sock, _ = self.sock.accept()
        except OSError:
            return False  # another worker was quicker, or the client has left again
        state = self.state
        state.recorder.count("connections_accepted")
        if len(state.connections) >= state.plan.connections:
            refuse(sock)
            return True
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        state.spawn(self._attach(sock))
        return True

    async def _attach(self, sock: socket.socket) -> None:
        loop: Any = self.state.loop
        try:
            await loop.connect_accepted_socket(self._connection, sock)
        except OSError:
            sock.close()

    def _connection(self) -> ClientConnection:
        return ClientConnection(self.state, b"http", self.metrics)


def refuse(sock: socket.socket) -> None:
    """Say that there are too many connections, and close."""
    with sock:
        try:
            sock.send(BUSY, socket.MSG_DONTWAIT)
        except OSError:
            return  # the client has left already
