"""One client connection: reads requests, hands them to their route one at a time, writes the answers in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Final

from portico.edge.admit import admit, admit_slowly, settle
from portico.edge.exchange import NO_BODY, REASONS, Exchange, Response
from portico.edge.forwarded import Forwarded
from portico.edge.gathering import Gathering
from portico.edge.http1.body import BodyReader
from portico.edge.http1.errors import HeadError
from portico.edge.http1.head import RequestHead
from portico.edge.plan import CompiledRoute
from portico.edge.policies.request_id import new_request_id
from portico.edge.refusals import (
    head_refused,
    nowhere,
    overloaded,
    policy_failed,
    reserved,
    too_large,
)
from portico.edge.sockets import reset
from portico.edge.state import EdgeState
from portico.edge.tls import presented
from portico.identity.certificates import Certificate

OPEN: Final = 0  # reading heads and bodies
TUNNEL: Final = 1  # bytes pass as they come
LINGER: Final = 2  # answered; what still comes is thrown away until the client has read the answer
CLOSED: Final = 3

PIPELINE: Final = 64 * 1024  # bytes of further requests that are read while one is answered
WRITE_BUFFER: Final = 64 * 1024
LINGER_TIME: Final = 2.0
LEAVE_TIME: Final = 0.3  # seconds for a request that was on its way as we ended an idle connection


class ClientConnection(Gathering):
    """An HTTP/1.1 connection from a client (RFC 9112)."""

    def __init__(self, state: EdgeState, scheme: bytes, metrics: bool = False, told: bytes = b"") -> None:
        super().__init__()
        self.state = state
        self.metrics = metrics  # this connection came to the metrics listener
        self.scheme = scheme
        self.peer = told  # the client's address, where it is known before
        self.certificate: Certificate | None = None  # that the client has shown, verified
        self.forwarded = Forwarded(b"", scheme)
        self.phase = CLOSED
        self.request = RequestHead(state.names)
        self.body = BodyReader()
        self.buffer = b""
        self.scanned = 0  # bytes of the buffer known to hold no end of a head
        self.exchange: Exchange | None = None
        self.advancing = False
        self.empty_line = False  # one empty line before a request line is ignored (RFC 9112 2.2)
        self.linger_until = 0.0

    # -- the transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self.transport = transport
        self.phase = OPEN
        if self.scheme == b"https":
            self.certificate = presented(transport.get_extra_info("ssl_object"))
        peername = transport.get_extra_info("peername")
        if not self.peer and isinstance(peername, tuple):
            self.peer = str(peername[0]).partition("%")[0].encode()
        self.forwarded = Forwarded(self.peer, self.scheme)
        self.forwarded.trust(self.state.plan.trusted)
        self.touched = time.monotonic()
        self.state.connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.state.scratch

    def buffer_updated(self, size: int) -> None:
        if self.phase == LINGER:
            return
        data = self.state.scratch[:size].tobytes()
        exchange = self.exchange
        if self.phase == TUNNEL:
            if exchange is not None and exchange.target_side is not None:
                exchange.bytes_in += size
                exchange.target_side.take(exchange, data)
        elif exchange is not None and not exchange.body_done:
            self._upload(exchange, data)
        else:
            self.buffer = self.buffer + data if self.buffer else data
            if exchange is None:
                self._advance()
            elif len(self.buffer) > PIPELINE:
                self.pause()

    def eof_received(self) -> bool:
        return False  # a client that shuts its side has left: the transport closes

    def connection_lost(self, error: Exception | None) -> None:
        tunnel = self.phase == TUNNEL
        self.phase = CLOSED
        self.state.connections.discard(self)
        exchange = self.exchange
        if exchange is not None:
            if not tunnel:
                exchange.code = exchange.code or "client_gone"
                exchange.status = exchange.status or 499
            target = exchange.target_side
            if target is not None:
                target.cancel(exchange)
            self._finish(exchange)
        if self.state.draining and not self.state.connections and self.state.on_idle is not None:
            self.state.on_idle()

    def pause_writing(self) -> None:
        self.writable = False
        self.touched = time.monotonic()
        if self.exchange is not None and self.exchange.target_side is not None:
            self.exchange.target_side.pause()

    def resume_writing(self) -> None:
        self.writable = True
        exchange = self.exchange
        if exchange is None or exchange.target_side is None:
            return
        if exchange.deadline > 0.0 and exchange.route is not None:
            exchange.deadline = time.monotonic() + exchange.route.idle  # it was we who read nothing
        exchange.target_side.resume()

    # -- reading requests

    def _advance(self) -> None:
        """Take requests out of the buffer, one after another, as long as each is answered at once."""
        if self.advancing:
            return
        self.advancing = True
        while self.exchange is None and self.buffer and self.phase == OPEN:
            head = self._next_head()
            if not head:
                break
            self._begin(head)
        self.advancing = False
        exchange = self.exchange
        between = exchange is None or exchange.body_done
        if self.phase == OPEN and between and not self.reading and len(self.buffer) <= PIPELINE:
            self.resume()

    def _next_head(self) -> bytes:
        """The next head without its final empty line; empty when it is not complete, or was refused."""
        buffer = self.buffer
        if buffer[0] == 13 and buffer.startswith(b"\r\n") and not self.empty_line:
            self.empty_line = True
            buffer = self.buffer = buffer[2:]
        at = buffer.find(b"\r\n\r\n", self.scanned)
        limit = self.state.plan.header_bytes
        if at < 0 and len(buffer) <= limit:
            if self.scanned == 0:
                self.touched = time.monotonic()
            self.scanned = max(0, len(buffer) - 3)
            return b""
        if at < 0 or at > limit:
            line = buffer.find(b"\r\n", 0, limit)
            self.refuse_head(HeadError(414 if line < 0 else 431, "head_too_large", f"the head exceeds {limit} bytes"))
            return b""
        self.buffer = buffer[at + 4 :]
        self.scanned = 0
        self.empty_line = False
        if at == 0:
            self.refuse_head(HeadError(400, "bad_request_line", "the request line is empty"))
        return buffer[:at]

    def _begin(self, head: bytes) -> None:
        request = self.request
        try:
            request.read(head)
        except HeadError as error:
            self.refuse_head(error)
            return
        exchange = self._exchange()
        exchange.take(request)
        exchange.client = self.forwarded.client(exchange, self.state.plan.trusted)
        if self.state.tracer is not None:
            exchange.trace = self.state.tracer.begin(exchange)
        self.keep_alive = request.keep_alive and not self.state.draining
        if request.length != 0 and not self._first_piece(exchange, request.length):
            return
        self._route(exchange)

    def _exchange(self) -> Exchange:
        exchange = Exchange(self, self.request.fields, time.monotonic(), time.time())
        exchange.peer = self.peer
        exchange.client = self.peer
        exchange.scheme = self.scheme
        exchange.peer_certificate = self.certificate
        exchange.route = self.state.plan.unmatched
        self.exchange = exchange
        self.state.in_flight += 1
        return exchange

    def _first_piece(self, exchange: Exchange, length: int) -> bool:
        """What came of the body together with the head. False: it was refused."""
        exchange.body_done = False
        self.body.start(length)
        data = self.buffer
        self.buffer = b""
        if not data:
            return True
        try:
            exchange.pending = self.body.feed(data)
        except HeadError as error:
            exchange.request_id = new_request_id(exchange.wall)
            self._refuse(exchange, error)
            return False
        exchange.bytes_in = len(exchange.pending)
        if self.body.done:
            exchange.body_done = True
            self.buffer = self.body.rest
        return True

    def _route(self, exchange: Exchange) -> None:
        """Find the route and ask its steps."""
        plan = self.state.plan
        routes = plan.metrics_table if self.metrics else plan.table
        found = routes.find(exchange.host, exchange.match, exchange.method)
        route = found.value
        if not isinstance(route, CompiledRoute) or reserved(exchange):
            admit(exchange, plan.unmatched.steps)
            self.answer(exchange, nowhere(exchange, found.allowed))
            return
        exchange.route = route
        exchange.params = found.params
        exchange.body_limit = route.body_limit
        exchange.websocket = self.request.websocket and route.websocket
        busy = self.state.in_flight > plan.in_flight or self.state.buffered > plan.buffered
        if busy and not route.always:
            exchange.request_id = new_request_id(exchange.wall)
            self.answer(exchange, overloaded(exchange))
            return
        try:
            answer = admit(exchange, route.steps)
        except Exception as error:
            self._failed(exchange, error)
            return
        if answer is None:
            self._forward(exchange)
        elif isinstance(answer, Response):
            self.answer(exchange, answer)
        else:
            if not exchange.body_done:
                self.pause()
            self.state.spawn(self._wait(exchange, route, answer))

    async def _wait(self, exchange: Exchange, route: CompiledRoute, first: Awaitable[Response | None]) -> None:
        try:
            answer = await admit_slowly(exchange, route.steps, first)
        except Exception as error:
            if not exchange.finished:
                self._failed(exchange, error)
            return
        if exchange.finished:
            return
        if answer is None:
            self._forward(exchange)
        else:
            self.answer(exchange, answer)

    def _forward(self, exchange: Exchange) -> None:
        route = exchange.route
        assert route is not None
        if exchange.length != 0 and (exchange.length > exchange.body_limit or exchange.bytes_in > exchange.body_limit):
            self.answer(exchange, too_large(exchange))
            return
        if route.upstream is None:
            self._failed(exchange, RuntimeError(f"route {route.name} answers nothing"))
            return
        exchange.request_fields += self.forwarded.fields(exchange)
        if exchange.body_done:
            route.upstream.forward(exchange)
        elif route.buffer:
            self.collect(exchange)  # `_upload` goes on
        else:
            self.pause()  # until a target takes it
            route.upstream.forward(exchange)

    def _gathered(self, exchange: Exchange) -> None:
        """The whole body is there, or as much as whoever waits for it takes; else the upstream can be asked."""
        route = exchange.route
        assert route is not None
        if not self.collected(exchange) and route.upstream is not None:
            route.upstream.forward(exchange)

    def _upload(self, exchange: Exchange, data: bytes) -> None:
        """A piece of the request body, while the exchange is under way."""
        try:
            payload = self.body.feed(data)
        except HeadError as error:
            self.cancel(exchange)
            self._refuse(exchange, error)
            return
        exchange.bytes_in += len(payload)
        if self.body.done:
            exchange.body_done = True
            self.buffer = self.body.rest
        target = exchange.target_side
        if exchange.bytes_in > exchange.body_limit:
            self.cancel(exchange)
            self.answer(exchange, too_large(exchange))
        elif self.parts:
            self.touched = time.monotonic()
            self.parts.append(payload)
            if exchange.body_done or (self.waiter is not None and exchange.bytes_in > self.most):
                self._gathered(exchange)
        elif target is None:
            exchange.pending += payload
            self.pause()
        else:
            self.touched = time.monotonic()
            if payload:
                target.take(exchange, payload)
            if exchange.body_done and not exchange.finished:
                target.end(exchange)

    # -- refusing

    def refuse_head(self, error: HeadError) -> None:
        """A head that can't be read: answer, and end the connection, for nobody knows where the next one begins."""
        self.buffer = b""
        exchange = self._exchange()
        exchange.request_id = new_request_id(exchange.wall)
        self._refuse(exchange, error)

    def _refuse(self, exchange: Exchange, error: HeadError) -> None:
        self.state.recorder.count("parse_errors")
        response = head_refused(exchange, error)
        response.close = True
        self.answer(exchange, response)

    def _failed(self, exchange: Exchange, error: BaseException) -> None:
        self.state.trouble("a policy failed", error, exchange.request_id)
        self.answer(exchange, policy_failed(exchange))

    def cancel(self, exchange: Exchange) -> None:
        """Stop the target that works on the exchange."""
        target = exchange.target_side
        if target is not None:
            target.cancel(exchange)

    # -- writing answers (Downstream)

    def upgrade(self, exchange: Exchange, reason: bytes, fields: bytes) -> None:
        exchange.status = 101
        exchange.responding = True
        self.phase = TUNNEL
        self.keep_alive = False
        self.chunked = False
        if exchange.response_edit is not None:
            fields = exchange.response_edit.apply(fields)
        self.out = b"".join([
            b"HTTP/1.1 101 ", reason, fields, b"\r\nX-Request-Id: ", exchange.request_id, exchange.response_fields,
            b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ])  # fmt: skip
        early = self.buffer
        self.buffer = b""
        if early and exchange.target_side is not None:
            exchange.target_side.take(exchange, early)
        self.resume()

    def done(self, exchange: Exchange) -> None:
        out = self.out
        if self.chunked:
            out += b"0\r\n\r\n"
        if out:
            self.transport.write(out)
            self.out = b""
        self._finish(exchange)
        if not exchange.body_done:
            self._linger()
        elif not self.keep_alive:
            self.close()
        elif self.buffer:
            self._advance()
        elif not self.reading:
            self.resume()

    def abort(self, exchange: Exchange) -> None:
        self.out = b""
        self._finish(exchange)
        if self.framed:
            self.transport.abort()  # the framing tells that something is missing
        else:
            reset(self.transport)

    def cut(self, exchange: Exchange) -> None:
        self.flush(exchange)
        self._finish(exchange)
        if self.framed:
            self._linger()  # without a last chunk
        else:
            reset(self.transport)

    def answer(self, exchange: Exchange, response: Response) -> None:
        exchange.code = response.code or exchange.code
        if exchange.responding:
            self.abort(exchange)
            return
        if response.close or not exchange.body_done:
            self.keep_alive = False
        body = response.body
        fields = self.state.date_line(exchange.wall) + response.fields
        silent = response.status == 204 or response.status == 304
        self.respond(
            exchange, response.status, REASONS.get(response.status, b""), fields, NO_BODY if silent else len(body)
        )
        if exchange.method != b"HEAD" and not silent:
            exchange.bytes_out = len(body)
            self.out += body
        if response.close:
            exchange.body_done = False  # linger, so that the answer is not lost in a reset
        self.done(exchange)

    def _finish(self, exchange: Exchange) -> None:
        """SETTLE and RECORD, once, however the exchange ended."""
        exchange.finished = True
        exchange.target_side = None
        self.exchange = None
        if self.parts:
            self.let_go()
        self.state.in_flight -= 1
        route = exchange.route
        now = exchange.ended = time.monotonic()
        if route is not None and route.settles:
            failure = settle(exchange, route.steps)
            if failure is not None:
                self.state.trouble("a policy failed to settle", failure, exchange.request_id)
        self.touched = now
        self.state.recorder.record(exchange, now)
        if exchange.trace is not None:
            exchange.trace.finish(exchange, now)

    # -- flow control and ending

    def close(self) -> None:
        """Close when everything is written, without losing an answer to bytes that were not read."""
        if self.buffer:
            self._linger()
        else:
            self.phase = CLOSED
            self.transport.close()

    def _linger(self) -> None:
        """End our side and throw away what still comes, so that the client reads the answer before a reset."""
        self.buffer = b""
        self.phase = LINGER
        self.linger_until = time.monotonic() + LINGER_TIME
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.resume()

    def drain(self) -> None:
        """Close with the next answer whose head is not out yet: the client is told, and loses nothing.

        A request may be on its way on a connection that looks idle, so it is not closed at once; the sweep does that.
        """
        exchange = self.exchange
        if exchange is None:
            self.touched = time.monotonic()
        elif not exchange.responding:
            self.keep_alive = False

    def leave(self) -> None:
        """End an idle connection without a reset, also when a request crosses our end on its way."""
        if self.phase == OPEN and self.exchange is None:
            self._linger()
            self.linger_until = time.monotonic() + LEAVE_TIME
