"""Ends what has waited too long. Called for every client connection several times a second."""

from __future__ import annotations

from typing import Final

from portico.edge.client import LINGER, TUNNEL, ClientConnection
from portico.edge.exchange import Exchange
from portico.edge.http1.errors import HeadError
from portico.edge.refusals import slow_client, upstream_slow

DRAINING_IDLE: Final = 1.0  # seconds that a connection taken while draining may say nothing


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
        connection.close()
