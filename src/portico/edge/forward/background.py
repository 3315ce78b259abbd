"""Work that goes on beside the exchanges for as long as an upstream is used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.edge.forward.upstream import Upstream


class Background:
    """One task of one upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with a first round at once."""
        self.task = self.upstream.state.loop.create_task(self.run())

    def stop(self) -> None:
        """End it, wherever it is."""
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Round after round, until it is cancelled."""
        raise NotImplementedError
