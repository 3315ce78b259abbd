"""The life of a request up to its target: the route's steps, in phase order, from top to bottom.

IDENTIFY      request_id
ADMIT         access, cors, body
AUTHENTICATE  auth
AUTHORIZE     require
LIMIT         key_limits, rate, window, quota, concurrent
VALIDATE      guard, policies of plugins
CACHE         (policies of plugins)
TRANSFORM     headers
SETTLE        every step that was asked and wants to know how the exchange ended
"""

from __future__ import annotations

from collections.abc import Awaitable

from portico.edge.exchange import Exchange, Response, Step
from portico.edge.tracing.trace import Trace


def admit(exchange: Exchange, steps: list[Step]) -> Response | Awaitable[Response | None] | None:
    """Ask the steps that have not been asked yet. None: all let it pass. An awaitable: one of them needs time."""
    trace = exchange.trace
    if trace is not None and trace.sampled:
        return admit_noting(exchange, steps, trace)
    for index in range(exchange.rank, len(steps)):
        exchange.rank = index + 1
        answer = steps[index].check(exchange)
        if answer is not None:
            return answer
    return None


def admit_noting(exchange: Exchange, steps: list[Step], trace: Trace) -> Response | Awaitable[Response | None] | None:
    """The same, for a request that is traced."""
    for index in range(exchange.rank, len(steps)):
        exchange.rank = index + 1
        step = steps[index]
        trace.enter(step.phase)
        answer = step.check(exchange)
        if answer is not None:
            return answer
    return None


async def admit_slowly(exchange: Exchange, steps: list[Step], first: Awaitable[Response | None]) -> Response | None:
    """Go on after a step that needs time."""
    answer = await first
    if exchange.trace is not None:
        exchange.trace.waited()
    while answer is None:
        following = admit(exchange, steps)
        if following is None or isinstance(following, Response):
            return following
        answer = await following
        if exchange.trace is not None:
            exchange.trace.waited()
    return answer


def settle(exchange: Exchange, steps: list[Step]) -> Exception | None:
    """Tell the steps that were asked, last first, that the exchange has ended; what one of them raised, if one did.

    One that raises keeps none of the others from being told: they give back what they hold.
    """
    failure: Exception | None = None
    for index in range(exchange.rank - 1, -1, -1):
        told = steps[index].settle
        if told is not None:
            try:
                told(exchange)
            except Exception as error:
                failure = error
    return failure
