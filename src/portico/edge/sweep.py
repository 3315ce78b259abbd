"""Ends what has waited too long, and counts what waits. Called several times a second."""

from __future__ import annotations

import select
from typing import Final

from portico.edge.client import CLOSED, LINGER, TUNNEL, ClientConnection
from portico.edge.exchange import Exchange
from portico.edge.http1.errors import HeadError
from portico.edge.refusals import slow_client, upstream_slow
from portico.edge.state import EdgeState

DRAINING_IDLE: Final = 1.0  # seconds that a connection taken while draining may say nothing


GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def sweep(state: EdgeState, now: float) -> None:
    """Look at every client connection; `now` is monotonic. Counts what is buffered."""
    poller = select.poll()
    paused: dict[int, ClientConnection] = {}
    buffered = 0
    for connection in list(state.connections):
        check(connection, now)
        exchange = connection.exchange
        if exchange is None or connection.phase == CLOSED:
            continue
        buffered += held(connection, exchange)
        if not connection.reading:
            number = connection.transport.get_extra_info("socket").fileno()
            paused[number] = connection
            poller.register(number, GONE)
    state.buffered = buffered
    if paused:
        for number, _ in poller.poll(0):
            paused[number].transport.abort()  # a loop that does not read is not told that the client has left


def part(state: EdgeState) -> None:
    """The time for draining is over: end the tunnels as their peers would, with all that waits written out first."""
    for connection in list(state.connections):
        if connection.phase == TUNNEL:
            connection.transport.close()


def held(connection: ClientConnection, exchange: Exchange) -> int:
    """Bytes that wait in memory for this exchange's client and upstream."""
    size = len(connection.buffer) + len(exchange.pending) + int(connection.transport.get_write_buffer_size())
    if connection.parts:
        size += exchange.bytes_in
    if exchange.target_side is not None:
        size += exchange.target_side.waiting()
    if exchange.guarded is not None:
        size += exchange.guarded.held
    return size


def check(connection: ClientConnection, now: float) -> None:
    """Look at one connection; `now` is monotonic."""
    exchange = connection.exchange
    if connection.phase == LINGER:
        if now > connection.linger_until:
            connection.transport.abort()
    elif exchange is None:
        check_waiting(connection, now)
    elif not connection.writable:
        if now - connection.touched > connection.state.plan.idle_timeout:
            exchange.code = "client_stalled"
            connection.transport.abort()
    elif 0.0 < exchange.deadline < now or 0.0 < exchange.total_deadline < now:
        late(connection, exchange)
    elif stalled(connection, exchange, now):
        exchange.code = "body_timeout"
        connection.cancel(exchange)
        connection.answer(exchange, slow_client(exchange))


def stalled(connection: ClientConnection, exchange: Exchange, now: float) -> bool:
    """Whether the client owes us more of its body and has sent nothing for too long."""
    owes = not exchange.body_done and connection.reading
    return owes and now - connection.touched > connection.state.plan.idle_timeout


def late(connection: ClientConnection, exchange: Exchange) -> None:
    """The upstream has taken too long: 504, or an unclean end when its answer had begun."""
    if connection.phase == TUNNEL:
        connection.transport.close()
        return
    exchange.code = "upstream_timeout"
    connection.cancel(exchange)
    connection.answer(exchange, upstream_slow(exchange))


def check_waiting(connection: ClientConnection, now: float) -> None:
    """A connection on which no request is under way: part of a head must become whole, silence must end."""
    plan = connection.state.plan
    waited = now - connection.touched
    if connection.buffer:
        if waited > plan.header_timeout:
            detail = f"the head was not complete within {plan.header_timeout:g} s"
            connection.refuse_head(HeadError(408, "head_timeout", detail))
    elif waited > plan.idle_timeout or (connection.state.draining and waited > DRAINING_IDLE):
        connection.leave()
