"""Work under way that several callers wait for, so that it is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Flight(Generic[Value]):
    """One piece of work. It is cancelled when the last who waits for it has gone."""

    def __init__(self, tags: tuple[str, ...], work: Callable[[], Awaitable[Value]]) -> None:
        self.tags = tags
        self.task = asyncio.ensure_future(work())
        self.is_given_up = False
        self._waiting = 0

    async def wait(self) -> Value:
        """The result, or what the work raised."""
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self._waiting -= 1
            if not self._waiting and not self.task.done():
                self.is_given_up = True
                self.task.cancel()


class Flights(Generic[Value]):
    """The work under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight[Value]] = {}
        self._tasks: set[asyncio.Future[Value]] = set()

    def find(self, key: str) -> Flight[Value] | None:
        """The work for this key, to be joined."""
        flight = self._flights.get(key)
        return flight if flight is not None and not flight.is_given_up and not flight.task.done() else None

    def begin(self, key: str, tags: tuple[str, ...], work: Callable[[], Awaitable[Value]]) -> Flight[Value]:
        """Start work that others may join."""
        flight = self._flights[key] = Flight(tags, work)
        self._tasks.add(flight.task)
        flight.task.add_done_callback(lambda task: self._ended(key, flight))
        return flight

    def forget(self, key: str) -> None:
        """Nobody joins it any more; those who wait get its result."""
        self._flights.pop(key, None)

    def drop(self, carries: Callable[[tuple[str, ...]], bool]) -> None:
        """Forget all whose tags are such."""
        for key in [key for key, flight in self._flights.items() if carries(flight.tags)]:
            del self._flights[key]

    async def stop(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: str, flight: Flight[Value]) -> None:
        self._tasks.discard(flight.task)
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.task.cancelled():
            flight.task.exception()  # someone may have been cancelled before they could hear of it
