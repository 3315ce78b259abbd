"""One connection to an upstream: it carries one exchange at a time."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

from portico.edge.exchange import NO_BODY, UNKNOWN_LENGTH, Exchange, Target
from portico.edge.forward import breaker
from portico.edge.forward.heads import request_head
from portico.edge.http1 import names
from portico.edge.http1.body import BodyReader, chunk
from portico.edge.http1.errors import HeadError
from portico.edge.http1.head import ResponseHead
from portico.edge.sockets import reset
from portico.edge.tls import reason
from portico.identity.principal import sign

if TYPE_CHECKING:
    from portico.edge.forward.pool import Pool

IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
TUNNEL: Final = 3
CLOSED: Final = 4
UNTIL_CLOSE: Final = -2
MAX_HEAD: Final = 64 * 1024
MAX_INTERIM: Final = 16  # 1xx responses to one request
WRITE_BUFFER: Final = 64 * 1024


class UpstreamConnection(Target):
    """Reads answers as strictly as requests; bytes that nobody asked for close it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.state = pool.state
        self.transport: Any = None
        self.exchange: Exchange | None = None
        self.phase = CLOSED
        self.head = ResponseHead(pool.state.names)
        self.body = BodyReader()
        self.buffer = b""
        self.counted = False  # among the pool's open connections
        self.error: Exception | None = None  # with which it ended
        self.served = 0
        self.interim = 0
        self.sent_at = 0.0
        self.upload_done = True
        self.reading = True
        self.writable = True

    # -- the transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self.transport = transport
        self.phase = IDLE

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.state.scratch

    def buffer_updated(self, size: int) -> None:
        data = self.state.scratch[:size].tobytes()
        exchange = self.exchange
        if exchange is None:
            self.pool.forget(self)
            self.phase = CLOSED
            self.close()  # an answer that nobody asked for
            return
        if self.phase == BODY:
            self._body(exchange, data)
        elif self.phase == HEAD:
            self.buffer = self.buffer + data if self.buffer else data
            self._heads(exchange)
        elif self.phase == TUNNEL:
            self._touch(exchange)
            exchange.bytes_out += size
            exchange.downstream.send(exchange, data)
            exchange.downstream.flush(exchange)

    def eof_received(self) -> bool:
        return False  # the transport closes; connection_lost tells what that means

    def connection_lost(self, error: Exception | None) -> None:
        phase = self.phase
        self.phase = CLOSED
        self.error = error
        exchange = self.exchange
        self.exchange = None
        self.pool.lost(self)
        if exchange is None or exchange.finished:
            return
        exchange.target_side = None
        if phase == HEAD and not exchange.responding:
            if isinstance(error, ssl.SSLError):
                # TLS 1.3 tells us only now when the upstream refuses our certificate.
                self.pool.failed(exchange)
                self.pool.upstream.refuse(exchange, 502, "upstream_tls", f"the upstream ended TLS: {reason(error)}")
            elif self.interim == 0 and not self.buffer:
                self.pool.upstream.broken(exchange, self.pool, self.served > 0)
            else:
                self._bad(exchange, "the upstream closed the connection in the middle of its answer's head")
        elif phase == TUNNEL or (phase == BODY and self.head.length == UNTIL_CLOSE and error is None):
            self._count(exchange)
            exchange.downstream.done(exchange)
        else:
            self._truncated(exchange)

    def pause_writing(self) -> None:
        self.writable = False
        if self.exchange is not None:
            self.exchange.downstream.pause()

    def resume_writing(self) -> None:
        self.writable = True
        if self.exchange is not None:
            self.exchange.downstream.resume()

    # -- the pool's side

    def begin(self, exchange: Exchange) -> None:
        """Send the request: its head, and what has been read of its body."""
        route = exchange.route
        assert route is not None
        now = time.monotonic()
        self.exchange = exchange
        self.phase = HEAD
        self.interim = 0
        self.sent_at = now
        exchange.target_side = self
        exchange.upstream = self.pool.label
        signed = b""
        if self.pool.upstream.services and exchange.principal is not None:
            signed = b"\r\nX-Portico-Principal: " + sign(
                exchange.principal, exchange.request_id, exchange.wall, self.state.principal_key
            )
        head = request_head(exchange, route, self.pool.authority, signed)
        pending = exchange.pending
        self.upload_done = exchange.body_done
        if exchange.length == UNKNOWN_LENGTH:
            head += chunk(pending) if pending else b""
            head += b"0\r\n\r\n" if self.upload_done else b""
        else:
            head += pending
        exchange.pending = b""
        self.transport.write(head)
        if self.upload_done:
            exchange.deadline = now + route.first_byte if route.first_byte > 0.0 else 0.0
        else:
            exchange.deadline = 0.0
            if self.writable:
                exchange.downstream.resume()

    def close(self) -> None:
        """Close politely."""
        if self.transport is not None:
            self.transport.close()

    # -- the client's side

    def take(self, exchange: Exchange, data: bytes) -> None:
        if self.phase == TUNNEL:
            self._touch(exchange)
            self.transport.write(data)
        else:
            self.transport.write(chunk(data) if exchange.length == UNKNOWN_LENGTH else data)

    def end(self, exchange: Exchange) -> None:
        self.upload_done = True
        if exchange.length == UNKNOWN_LENGTH:
            self.transport.write(b"0\r\n\r\n")
        route = exchange.route
        if route is not None and route.first_byte > 0.0 and self.phase == HEAD:
            exchange.deadline = time.monotonic() + route.first_byte

    def pause(self) -> None:
        if self.reading and not self.transport.is_closing():
            self.reading = False
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.reading and not self.transport.is_closing():
            self.reading = True
            self.transport.resume_reading()

    def waiting(self) -> int:
        return int(self.transport.get_write_buffer_size())

    def cancel(self, exchange: Exchange) -> None:
        if self.exchange is exchange:
            self.exchange = None
            exchange.target_side = None
            if self.phase == TUNNEL:
                self.transport.close()
            else:
                self.pool.upstream.stats.count(exchange.code or "cancelled")
                reset(self.transport)
            if exchange.code == "upstream_timeout" and self.upload_done:
                self.pool.failed(exchange)
            else:
                self.pool.breaker.left(exchange)

    # -- reading the answer

    def _heads(self, exchange: Exchange) -> None:
        while self.phase == HEAD:
            at = self.buffer.find(b"\r\n\r\n")
            if at < 0:
                if len(self.buffer) > MAX_HEAD:
                    self._bad(exchange, "the upstream's answer has too large a head")
                return
            head = self.head
            try:
                head.read(self.buffer[:at], exchange.method)
            except HeadError as error:
                self._bad(exchange, f"the upstream's answer is malformed: {error.detail}")
                return
            rest = self.buffer[at + 4 :]
            self.buffer = rest
            if head.status < 200:
                if not self._interim(exchange, rest):
                    return
            else:
                self._final(exchange, rest)

    def _interim(self, exchange: Exchange, rest: bytes) -> bool:
        """Pass on a 1xx. False: the exchange has gone on as a tunnel, or has failed."""
        head = self.head
        self.interim += 1
        if head.status == 101:
            if not (exchange.websocket and head.upgrade):
                self._bad(exchange, "the upstream switched protocols unasked")
                return False
            self.phase = TUNNEL
            self.buffer = b""
            self._judge(exchange)
            self._touch(exchange)
            exchange.downstream.upgrade(exchange, head.reason, head.fields.kept)
            if rest:
                exchange.downstream.send(exchange, rest)
            exchange.downstream.flush(exchange)
            return False
        if self.interim > MAX_INTERIM:
            self._bad(exchange, "the upstream sent too many interim answers")
            return False
        exchange.downstream.inform(exchange, head.status, head.reason, head.fields.kept)
        return True

    def _final(self, exchange: Exchange, rest: bytes) -> None:
        head = self.head
        length = head.length
        self.buffer = b""
        if head.status >= 400 and self.interim == 0:
            other = self.pool.upstream.another(exchange, self.pool, head.status)
            if other is not None:
                self._drop(exchange, rest)
                other.give(exchange)
                return
        self._judge(exchange)
        lines = head.fields.kept
        if names.DATE not in head.fields.known:
            lines += self.state.date_line(exchange.wall)  # RFC 9110 6.6.1
        if length == NO_BODY:
            announced = head.fields.known.get(names.CONTENT_LENGTH)
            if announced is not None and head.status != 204:
                lines += b"\r\nContent-Length: " + announced
        self.phase = BODY
        if exchange.tap is not None:
            exchange.tap.head(head.fields)
        downstream = exchange.downstream
        downstream.respond(
            exchange, head.status, head.reason, lines, UNKNOWN_LENGTH if length == UNTIL_CLOSE else length
        )
        if length == NO_BODY or length == 0:
            self._complete(exchange, rest)
            return
        self.body.start(length)
        if rest:
            self._body(exchange, rest)
        else:
            self._touch(exchange)
            downstream.flush(exchange)

    def _body(self, exchange: Exchange, data: bytes) -> None:
        body = self.body
        try:
            payload = body.feed(data)
        except HeadError:
            self.exchange = None
            self.transport.abort()
            self._truncated(exchange)
            return
        if payload:
            exchange.bytes_out += len(payload)
            if exchange.tap is not None:
                exchange.tap.feed(payload)
            exchange.downstream.send(exchange, payload)
            if exchange.finished:
                return
        if body.done:
            self._complete(exchange, body.rest)
        else:
            self._touch(exchange)
            exchange.downstream.flush(exchange)

    def _complete(self, exchange: Exchange, rest: bytes) -> None:
        """The answer is complete: free the connection, unless something makes it unfit for another exchange."""
        self._count(exchange)
        self.exchange = None
        exchange.target_side = None
        self.served += 1
        if not self.reading:
            self.resume()
        if rest or not self.head.keep_alive or not self.upload_done or self.transport.is_closing():
            self.phase = CLOSED
            self.transport.abort() if rest or not self.upload_done else self.transport.close()
        else:
            self.phase = IDLE
            self.pool.release(self)
        exchange.downstream.done(exchange)

    def _drop(self, exchange: Exchange, rest: bytes) -> None:
        """Another target will answer: free the connection if this answer is here already, else end it."""
        self._judge(exchange)
        self._count(exchange)
        self.exchange = None
        exchange.target_side = None
        self.served += 1
        self.phase = CLOSED
        self.body.start(self.head.length)
        try:
            self.body.feed(rest)
        except HeadError:
            self.transport.abort()
            return
        if not self.body.done or self.body.rest or not self.head.keep_alive:
            self.transport.abort()
        else:
            self.phase = IDLE
            self.pool.release(self)

    # -- what is written down

    def _judge(self, exchange: Exchange) -> None:
        """The head of its answer decides what becomes of a target that this exchange tries."""
        if self.pool.breaker.state != breaker.CLOSED:
            self._result(exchange, time.monotonic())
        if exchange.trace is not None:
            exchange.trace.answered(self.head.status)

    def _result(self, exchange: Exchange, now: float) -> None:
        status = self.head.status
        if status >= 500 and status in breaker.FAILURES:
            self.pool.failed(exchange)
        else:
            self.pool.passed(exchange, now)

    def _touch(self, exchange: Exchange) -> None:
        route = exchange.route
        if route is not None and route.idle > 0.0:
            exchange.deadline = time.monotonic() + route.idle

    def _count(self, exchange: Exchange) -> None:
        now = time.monotonic()
        self.pool.upstream.stats.answered(self.head.status, now - self.sent_at)
        self._result(exchange, now)

    def _bad(self, exchange: Exchange, detail: str) -> None:
        self.exchange = None
        exchange.target_side = None
        if self.phase != CLOSED:
            self.transport.abort()
        self.pool.failed(exchange)
        self.pool.upstream.refuse(exchange, 502, "upstream_malformed", detail)

    def _truncated(self, exchange: Exchange) -> None:
        exchange.target_side = None
        exchange.code = "upstream_truncated"
        self.pool.upstream.stats.count("upstream_truncated")
        self.pool.failed(exchange)
        exchange.downstream.abort(exchange)
