"""The connections to one address of a target: kept alive, bounded, and handed to one exchange at a time."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from portico import contracts
from portico.edge.exchange import Exchange, Target
from portico.edge.forward import breaker
from portico.edge.forward.connection import CLOSED, UpstreamConnection
from portico.edge.forward.dial import dial
from portico.edge.record import escape
from portico.edge.tls import TlsRefused, reason

if TYPE_CHECKING:
    from portico.edge.forward.upstream import Upstream

SLOW_START: Final = 10.0  # seconds in which a target that came back grows to its whole share
FIRST_SHARE: Final = 0.1  # of its weight, with which it begins


class Pool(Target):
    """Idle connections, how many are open, and the exchanges that wait for one; the breaker and health beside them.

    To a client connection it stands for the target as long as its exchange waits.
    """

    def __init__(self, target: contracts.Target, upstream: Upstream, address: str = "", share: float = 1.0) -> None:
        self.upstream = upstream
        self.state = upstream.state
        self.target = target
        self.address = address  # one of those that the target's name has; empty: dial the target as it is called
        self.share = share  # of the requests, beside the others'
        self.credit = 0.0  # turns that it is owed, while they are not laid out beforehand
        self.identity = f"{target.url} {address}".encode()
        self.authority = b"localhost" if target.path else located(target.host, target.port).encode("latin-1")
        place = target.path or located(address or target.host, target.port)
        self.label = escape(place.encode())  # as a log shows it
        self.breaker = breaker.Breaker(upstream.breaker)
        self.healthy = True  # what active checks say
        self.recovered = 0.0  # monotonic: since when it grows to its share again; 0: it has it
        self.idle: list[UpstreamConnection] = []
        self.open = 0  # connections, those being opened included
        self.opening = 0
        self.queue: OrderedDict[Exchange, None] = OrderedDict()  # exchanges that wait for a connection
        self.retired = False

    # -- handing out connections

    def give(self, exchange: Exchange) -> None:
        """Give the exchange a connection: an idle one at once, else the first that becomes free."""
        if exchange.trace is not None:
            exchange.trace.attempt(self.label)
        if self.idle:
            self.idle.pop().begin(exchange)
        else:
            self.enqueue(exchange)

    def enqueue(self, exchange: Exchange) -> None:
        """Let the exchange wait for a connection that is new, or has just shown that it works."""
        self.queue[exchange] = None
        exchange.target_side = self
        route = exchange.route
        if route is not None:
            patience = route.connect or route.first_byte
            exchange.deadline = time.monotonic() + patience if patience > 0.0 else 0.0
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

    def forget(self, connection: UpstreamConnection) -> None:
        """An idle connection is no longer fit for an exchange."""
        if connection in self.idle:
            self.idle.remove(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection has ended. One that ends while it is being opened is counted by `_connect`."""
        if connection.counted:
            self.open -= 1
            self.forget(connection)
            self._open_more()

    def close(self) -> None:
        """Take no idle connections any more, and close those there are."""
        self.retired = True
        idle = self.idle
        self.idle = []
        for connection in idle:
            connection.close()

    def _next(self) -> Exchange | None:
        while self.queue:
            exchange = self.queue.popitem(last=False)[0]
            exchange.target_side = None
            if not exchange.finished:
                return exchange
        return None

    def _open_more(self) -> None:
        while self.opening < len(self.queue) and self.open < self.upstream.max_connections:
            self.open += 1
            self.opening += 1
            self.state.spawn(self._connect())

    async def _connect(self) -> None:
        code = detail = ""
        try:
            async with asyncio.timeout(self.upstream.connect_timeout or None):
                connection = await self._establish()
        except TimeoutError:
            code = "upstream_timeout"
        except TlsRefused as error:
            code, detail = error.code, str(error)
        except OSError:
            code = "upstream_unreachable"
        else:
            code, detail = fate(connection)
        self.opening -= 1
        if not code:
            connection.counted = True
            self.release(connection)
            return
        self.open -= 1
        exchange = self._next()
        self.failed(exchange)
        if exchange is not None:
            self.upstream.unreachable(exchange, self, code, detail)
        self._open_more()

    async def _establish(self) -> UpstreamConnection:
        connection = await dial(
            self.state.loop, self.target, self._connection, self.upstream.tls, self.state.scratch, self.address
        )
        assert isinstance(connection, UpstreamConnection)
        return connection

    def _connection(self) -> UpstreamConnection:
        return UpstreamConnection(self)

    # -- a waiting exchange's target

    def take(self, exchange: Exchange, chunk: bytes) -> None:
        exchange.pending += chunk
        exchange.downstream.pause()

    def end(self, exchange: Exchange) -> None:
        return

    def pause(self) -> None:
        return

    def resume(self) -> None:
        return

    def waiting(self) -> int:
        return 0

    def cancel(self, exchange: Exchange) -> None:
        self.queue.pop(exchange, None)
        exchange.target_side = None
        self.breaker.left(exchange)
        self.upstream.stats.count("cancelled")

    # -- how the target does

    def passed(self, exchange: Exchange, now: float) -> None:
        """A request went well here."""
        if self.breaker.passed(exchange, now):
            self.recover(now)
            self.upstream.changed("takes requests again: one that tried it went well", self)

    def failed(self, exchange: Exchange | None) -> None:
        """A request failed here, or a connection did not come about."""
        now = time.monotonic()
        if self.breaker.failed(exchange, now):
            self.recovered = 0.0
            self.upstream.changed("gets no requests: too many have failed", self)

    def recover(self, now: float) -> None:
        """Begin with a small share."""
        self.recovered = now
        self.credit = 0.0

    def well(self) -> bool:
        """Whether it takes requests."""
        return self.healthy and self.breaker.state == breaker.CLOSED

    def share_now(self, now: float) -> float:
        """Its share, smaller for a while after it came back."""
        if self.recovered == 0.0:
            return self.share
        grown = (now - self.recovered) / SLOW_START
        return self.share * min(1.0, max(FIRST_SHARE, grown))

    def outstanding(self) -> int:
        """Exchanges that it works on, or that wait for it."""
        return self.open - self.opening - len(self.idle) + len(self.queue)

    def report(self) -> dict[str, Any]:
        """What `portico status` shows."""
        return {
            "address": self.label.decode(),
            "state": self.standing(),
            "outstanding": self.outstanding(),
            "open": self.open,
            "opening": self.opening,
            "idle": len(self.idle),
            "waiting": len(self.queue),
        }

    def standing(self) -> str:
        """In one word: up, slow_start, unhealthy (says a check), open or half_open (its breaker)."""
        if not self.healthy:
            return "unhealthy"
        if self.breaker.state != breaker.CLOSED:
            return "open" if self.breaker.state == breaker.OPEN else "half_open"
        return "slow_start" if self.recovered > 0.0 else "up"


def located(host: str, port: int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def fate(connection: UpstreamConnection) -> tuple[str, str]:
    """Code and detail of why a new connection is of no use any more; empty when it is of use.

    A TLS 1.3 upstream that refuses our certificate says so just after the handshake.
    """
    if connection.phase != CLOSED:
        return "", ""
    error = connection.error
    if isinstance(error, ssl.SSLError):
        return "upstream_tls", f"the upstream ended TLS: {reason(error)}"
    return "upstream_unreachable", "the upstream closed a new connection at once"
