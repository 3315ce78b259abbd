"""Sends the head of this process's chain to `audit.heads_url`, where nobody on this machine can unsay it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from portico.errors import OutboundError
from portico.outbound import Bounds, Client, Guard
from portico.storage.audit.chain import Head
from portico.storage.audit.heads import dump
from portico.storage.database import Database
from portico.telemetry import logs

EVERY: Final = 60.0  # seconds
ATTEMPTS: Final = 3  # of one head; the next one says all that it would have said
PAUSE: Final = 2.0  # seconds before the second attempt, doubled before the third
LAST_MOMENT: Final = 2.0  # seconds for the head at the end


class Sender:
    """POSTs a head as JSON each minute in which the chain has grown, and at the end."""

    def __init__(self, db: Database, url: str) -> None:
        self._db = db
        self._url = url
        self._sent = 0
        self._task: asyncio.Task[None] | None = None
        bounds = Bounds(total=10.0)
        self._client = Client(Guard(allow_private=True), bounds)  # the address is the operator's choice

    async def start(self) -> None:
        """Begin."""
        await self._client.start()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Send the last head, if that can be done within two seconds; may be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_MOMENT):
                    await self.send()
        await self._client.stop()

    async def send(self) -> bool:
        """Send the head if it is a new one; whether nothing is left to send."""
        head = self._db.trail.head() if self._db.trail is not None else None
        if head is None or head.sequence == self._sent:
            return True
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE * 2.0 ** (attempt - 1))
            if problem := await self._post(head):
                logs.get("portico.audit").warning("the head of the audit chain was not taken", cause=problem)
            else:
                self._sent = head.sequence
                return True
        return False

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.send()

    async def _post(self, head: Head) -> str:
        """What went wrong, or ""."""
        try:
            answer = await self._client.request(
                "POST", self._url, headers={"Content-Type": "application/json"}, body=dump(head).encode()
            )
        except OutboundError as error:
            return str(error)
        return "" if 200 <= answer.status < 300 else f"the answer was {answer.status}"
