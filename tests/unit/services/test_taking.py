"""How many connections a process takes from the private socket at a time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from portico.services.taking import SHARED, Taking

BURST = 40


@pytest.mark.parametrize(("shared", "taken"), [(False, BURST), (True, SHARED)])
def test_a_burst_is_taken_at_one_wake_by_whoever_is_alone(tmp_path: Path, shared: bool, taken: int) -> None:
    async def live() -> list[int]:
        made: list[asyncio.Protocol] = []

        def protocol() -> asyncio.Protocol:
            made.append(asyncio.Protocol())
            return made[-1]

        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / "s"))
            listener.listen(BURST)
            for _ in range(BURST):
                stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / "s"))
            taking = Taking(listener, protocol, shared)
            taking.start()
            counts = []
            while len(made) < BURST:
                before = len(taking._attaching) + len(made)
                await asyncio.sleep(0)
                counts.append(len(taking._attaching) + len(made) - before)
            taking.close()
            await taking.wait_closed()
        return counts

    assert max(asyncio.run(asyncio.wait_for(live(), 10))) >= taken
