from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.edge.callers.peer import INTERNAL, Peer, folder, wanted
from tests.unit.edge.policies import kit

from portico.contracts import Identity, Role, Snapshot
from portico.edge.callers import Callers
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response
from portico.edge.policies import auth

ROLES = (Role("admin", ("*",)), Role("user", ("profile:read", "users:*")))


class Desk:
    """An edge's callers beside a peer, and the policy of a route."""

    def __init__(self, path: Path, kinds: list[str], upstream: str = "up") -> None:
        self.peer = Peer(path)
        self.callers = Callers(str(path), INTERNAL)
        self.identity = Identity(roles=ROLES, stale_for=60.0)
        self.callers.configure(self.identity)
        made = kit.context({"callers": self.callers})
        route = made.route.__class__("users", ("/users",), upstream)
        snapshot = Snapshot(1, "test", made.snapshot.server, routes=(route,), identity=self.identity)
        self.step = auth.build({"kinds": kinds}, PolicyContext(snapshot, route, made.shared))

    async def begin(self) -> None:
        await self.peer.start()
        self.callers.start()
        await self.fresh()

    async def fresh(self) -> None:
        await wanted(lambda: self.callers.book.fresh(time.monotonic()))

    async def stale(self) -> None:
        """The peer goes on, but says nothing any more; wait until that is noticed."""
        self.peer.beating = False
        await wanted(lambda: not self.callers.book.fresh(time.monotonic()))

    async def ask(self, key: str = "", **more: Any) -> Exchange:
        """One request, with what became of it in `notes["answer"]`."""
        block = f"\r\nX-API-Key: {key}".encode() if key else b""
        block = more.pop("block", block)
        left = {name: more.pop(name) for name in ("websocket", "authority", "peer_certificate") if name in more}
        asked = kit.exchange(block, now=time.monotonic(), wall=time.time(), **more)
        for name, value in left.items():
            setattr(asked, name, value)
        answer = self.step.check(asked)
        if isinstance(answer, Awaitable):
            answer = await answer
        asked.notes["answer"] = answer
        return asked

    async def code(self, key: str = "", **more: Any) -> str:
        """ "" when the request was let through, else the refusal's code."""
        answer = (await self.ask(key, **more)).notes["answer"]
        assert answer is None or isinstance(answer, Response)
        return answer.code if answer is not None else ""


Run = Callable[[Callable[[Desk], Awaitable[None]]], None]


@pytest.fixture
def beside() -> Callable[..., None]:
    """Runs a test's coroutine with a desk beside a peer that has begun, and ends both."""

    def run(test: Callable[[Desk], Awaitable[None]], kinds: tuple[str, ...] = ("api_key",), begin: bool = True) -> None:
        async def live() -> None:
            with folder() as made:
                desk = Desk(made / "s", list(kinds))
                if begin:
                    await desk.begin()
                try:
                    await test(desk)
                finally:
                    await desk.callers.stop()
                    if desk.peer.server is not None:
                        await desk.peer.stop()

        asyncio.run(asyncio.wait_for(live(), 30))

    return run
