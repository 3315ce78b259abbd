"""The connections to one target: kept alive, bounded, and handed to one exchange at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from portico import contracts
from portico.edge.exchange import Exchange
from portico.edge.forward.connection import UpstreamConnection
from portico.edge.record import escape

if TYPE_CHECKING:
    from portico.edge.forward.upstream import Upstream


class Pool:
    """Idle connections, how many are open, and the exchanges that wait for one."""

    def __init__(self, target: contracts.Target, upstream: Upstream) -> None:
        self.upstream = upstream
        self.state = upstream.state
        self.host = target.host
        self.port = target.port
        self.path = target.path
        host = f"[{target.host}]" if ":" in target.host else target.host
        address = target.path or f"{host}:{target.port}"
        self.label = escape(address.encode())  # as a log shows it
        self.authority = b"localhost" if target.path else address.encode("latin-1")
        self.idle: list[UpstreamConnection] = []
        self.open = 0  # connections, those being opened included
        self.opening = 0
        self.waiting: deque[Exchange] = deque()
        self.retired = False

    def take(self, exchange: Exchange) -> None:
        """Give the exchange a connection: an idle one at once, else the first that becomes free."""
        if self.idle:
            self.idle.pop().begin(exchange)
            return
        while self.waiting and self.waiting[0].finished:
            self.waiting.popleft()  # its client has left
        self.waiting.append(exchange)
        route = exchange.route
        if route is not None and route.first_byte > 0.0:
            exchange.deadline = time.monotonic() + route.first_byte
        self._open_more()

    def release(self, connection: UpstreamConnection) -> None:
        """A connection has finished its exchange and can take another."""
        exchange = self._next()
        if exchange is not None:
            connection.begin(exchange)
        elif self.retired or len(self.idle) >= self.upstream.max_idle:
            connection.close()
        else:
            self.idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection has ended."""
        self.open -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        self._open_more()

    def close(self) -> None:
        """Take no idle connections any more, and close those there are."""
        self.retired = True
        for connection in list(self.idle):
            connection.close()

    def _next(self) -> Exchange | None:
        while self.waiting:
            exchange = self.waiting.popleft()
            if not exchange.finished:
                return exchange
        return None

    def _open_more(self) -> None:
        while self.opening < len(self.waiting) and self.open < self.upstream.max_connections:
            self.open += 1
            self.opening += 1
            self.state.spawn(self._connect())

    async def _connect(self) -> None:
        code = ""
        try:
            connection = await asyncio.wait_for(self._establish(), self.upstream.connect_timeout or None)
        except TimeoutError:
            code = "upstream_timeout"
        except OSError:
            code = "upstream_unreachable"
        self.opening -= 1
        if not code:
            self.release(connection)
            return
        self.open -= 1
        exchange = self._next()
        if exchange is not None:
            self.upstream.unreachable(exchange, code)
        self._open_more()

    async def _establish(self) -> UpstreamConnection:
        loop: Any = self.state.loop
        if self.path:
            pair = await loop.create_unix_connection(self._connection, self.path)
        else:
            pair = await loop.create_connection(self._connection, self.host, self.port)
        connection = pair[1]
        assert isinstance(connection, UpstreamConnection)
        return connection

    def _connection(self) -> UpstreamConnection:
        return UpstreamConnection(self)
