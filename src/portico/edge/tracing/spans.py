"""The edge's finished spans on their way to the services: a bounded queue, and who empties it twice a second.

The services alone know the collector. While they are away, or slow, spans are dropped and counted.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import deque
from contextlib import suppress
from typing import Final

from portico import contracts
from portico.edge.callers.wire import PAST, Wire
from portico.edge.exchange import Exchange
from portico.edge.tracing.describe import describe
from portico.edge.tracing.trace import Trace, Tracer
from portico.errors import ServicesAway

MOST: Final = 2048  # spans that wait, as JSON of mostly 1 KB each
BATCH: Final = 512  # sent at once; so many are not waited for
EVERY: Final = 0.5  # seconds
PATIENCE: Final = 2.0  # seconds for the services to take a batch
PARTING: Final = 1.0  # seconds for the last ones
TAKEN: Final = 204
PURPOSE: Final = b"portico sampling 1"
TARGET: Final = b"/_portico/spans"
AWAY: Final = (*PAST, ServicesAway, TimeoutError)


class Spans:
    """The spans of one edge process; outlives reloads. `instance` names the process."""

    def __init__(self, wire: Wire, instance: str) -> None:
        self.dropped = 0
        self._wire = wire
        self._instance = json.dumps(instance).encode()
        self._waiting: deque[bytes] = deque()
        self._many = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tracer(self, spec: contracts.Tracing | None, key: bytes) -> Tracer | None:
        """Who decides what is traced from now on; None: nothing is. `key` is one for all edge processes."""
        if spec is None:
            return None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return Tracer(spec.sample, spec.trust, hmac.digest(key, PURPOSE, "sha256"), self.take)

    def take(self, exchange: Exchange, trace: Trace, now: float) -> None:
        """Keep what there is to tell of a finished request."""
        for record in describe(exchange, trace, now):
            if len(self._waiting) >= MOST:
                self.dropped += 1
            else:
                self._waiting.append(json.dumps(record, separators=(",", ":")).encode())
        if len(self._waiting) >= BATCH:
            self._many.set()

    async def stop(self) -> None:
        """Send the rest, for a second at most."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING):
                await self._send()
        self.dropped += len(self._waiting)
        self._waiting.clear()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._many.wait()
            self._many.clear()
            await self._send()

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            body = b'{"instance":' + self._instance + b',"spans":[' + b",".join(batch) + b"]}"
            taken = False
            try:
                async with asyncio.timeout(PATIENCE):
                    taken = (await self._wire.ask(b"POST", TARGET, body))[0] == TAKEN
            except AWAY:
                taken = False
            finally:
                self.dropped += 0 if taken else len(batch)
