"""What the tests of the state room share: running on a loop, a started store, waiting for a condition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from portico import contracts
from portico.state import Store, make

Result = TypeVar("Result")

WAIT = 0.05
PATIENCE = 40.0  # seconds that a scene may take


def run(work: Coroutine[Any, Any, Result], *, on_uvloop: bool = False) -> Result:
    """Run to the end on asyncio's loop or on uvloop, which differ in when timers fire."""
    factory = uvloop.new_event_loop if on_uvloop else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(asyncio.wait_for(work, PATIENCE))


@asynccontextmanager
async def opened(url: str, wait: float = WAIT) -> AsyncIterator[Store]:
    """A started store."""
    store = make(contracts.State(url, wait))
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def until(condition: Callable[[], bool], patience: float = 10.0) -> float:
    """Wait until something is so; the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience, "it did not come to that"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def retried(work: Callable[[], Awaitable[Result]], patience: float = 10.0) -> Result:
    """The result, as soon as the store is there."""
    from portico.errors import StateUnavailable

    began = time.monotonic()
    while True:
        try:
            return await work()
        except StateUnavailable:
            assert time.monotonic() - began < patience, "the store did not come back"
            await asyncio.sleep(0.01)
