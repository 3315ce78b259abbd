"""Workers in one process on one clock that tests set, around one store: its script twins, or a real Redis."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.edge.policies.kit import exchange, principal

from portico.contracts import LIMIT, Policy, Route, Server, Snapshot, State
from portico.edge.admit import admit, admit_slowly, settle
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.limits.keeper import Keeper
from portico.edge.policies import concurrent, key_limits, quota, rate, window
from portico.errors import StateUnavailable
from portico.state import Script, StoreHealth
from portico.state.memory import Memory

MIDNIGHT = 1_763_769_600.0  # 2025-11-22T00:00:00Z
BUILD = {"rate": rate.build, "window": window.build, "quota": quota.build, "concurrent": concurrent.build}


class Clock:
    """Seconds, monotonic for workers; the store's clock shows MIDNIGHT + 1 h at 0."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def micros(self) -> int:
        return round((MIDNIGHT + 3600.0 + self.now - 1000.0) * 1e6)


class Shared:
    """A memory store that may be away, for all workers or for some."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.memory = Memory(clock=lambda: clock.micros() / 1e6)
        self.away = False
        self.calls = 0


class Line:
    """One worker's connection to it. Satisfies `Store` as far as limits need it."""

    is_shared = True

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.away = False
        self.callbacks: list[Callable[[bool], None]] = []

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def register(self, script: Script) -> None:
        self.shared.memory.register(script)

    def on_change(self, callback: Callable[[bool], None]) -> None:
        self.callbacks.append(callback)

    def health(self) -> StoreHealth:
        return StoreHealth(not (self.away or self.shared.away))

    async def script(self, name: str, keys: Any, args: Any = ()) -> Any:
        if self.away or self.shared.away:
            for callback in self.callbacks:
                callback(False)
            raise StateUnavailable("away")
        self.shared.calls += 1
        await asyncio.sleep(0)
        return await self.shared.memory.script(name, keys, args)


class Worker:
    """One edge worker's limits on one route."""

    def __init__(
        self, specs: list[tuple[str, dict[str, Any]]], clock: Clock, folder: Path, workers: int, line: Any,
        keys: bool = False,
    ) -> None:  # fmt: skip
        policies = tuple(Policy(name, LIMIT, number, "") for number, (name, _) in enumerate(specs))
        self.specs = specs
        self.keys = keys
        self.route = Route("r", ("/r",), "up", policies=policies)
        self.workers = workers
        self.clock = clock
        self.line = line
        self.keeper = Keeper(self._snapshot(1), str(folder), 0, line, clock, clock.micros)
        self.shared: dict[Any, Any] = {}
        self.keeper.share(self.shared)
        self.reload(1)

    def _snapshot(self, version: int) -> Snapshot:
        return Snapshot(
            version, "t", Server((), workers=self.workers), routes=(self.route,), state=State("redis://none")
        )

    def reload(self, version: int) -> None:
        """Make the route's steps anew, as a reload does."""
        context = PolicyContext(self._snapshot(version), self.route, self.shared)
        self.steps: list[Step] = [key_limits.build({}, context)] if self.keys else []
        for name, config in self.specs:
            self.steps.append(BUILD[name]({"by": "key", "name": name, **config}, context))

    async def start(self) -> None:
        """Connect; the beat is the test's to give."""
        await self.keeper.start()
        for task in list(self.keeper._tasks):
            task.cancel()

    async def beat(self) -> bool:
        try:
            await self.keeper.beat()
        except StateUnavailable:
            return False
        return True

    async def ask(self, who: str = "ada", notes: dict[str, Any] | None = None) -> tuple[Exchange, Response | None]:
        """One request."""
        asked = exchange(now=self.clock.now, wall=self.clock.micros() / 1e6, principal=principal(who))
        asked.notes.update(notes or {})
        answer = admit(asked, self.steps)
        if inspect.isawaitable(answer):
            answer = await admit_slowly(asked, self.steps, answer)
        if answer is not None:
            settle(asked, self.steps)
        return asked, answer

    async def admits(self, who: str = "ada") -> bool:
        return (await self.ask(who))[1] is None

    async def burst(self, number: int, who: str = "ada") -> int:
        """How many of so many requests pass."""
        return sum([await self.admits(who) for _ in range(number)])

    def end(self, asked: Exchange) -> None:
        """An exchange is over."""
        asked.finished = True
        settle(asked, self.steps)
