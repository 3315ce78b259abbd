"""What the edges must know at once, as a stream of lines: issuers, revocations, changed keys, and a heartbeat."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from portico.errors import StorageError
from portico.services.auth.issuers import Issuers
from portico.storage import changes
from portico.storage.accounts.people import People
from portico.storage.accounts.sessions import Sessions
from portico.storage.changes import Change, Changes
from portico.telemetry import logs

BEAT: Final = 0.25  # seconds
OLDEST: Final = timedelta(days=367)  # no token of ours lives longer
BATCH: Final = 1000  # changes read at once
BEHIND: Final = 2000  # lines that an edge may leave unread before its stream is ended; it begins anew

Line = dict[str, Any]


class Feed:
    """Reads the table of changes when the database was changed, and four times a second, and tells every stream.

    A beat carries the time (CLOCK_MONOTONIC, one for the machine) before that reading: whatever was committed until
    then, by any process, stands before it in the stream. While the database can't be read there is no beat, and the
    edges see for themselves that they know nothing new.
    """

    def __init__(self, table: Changes, sessions: Sessions, people: People, issuers: Issuers) -> None:
        self._table = table
        self._sessions = sessions
        self._people = people
        self._issuers = issuers
        self._number = 0
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._open = False
        self._changed = asyncio.Event()
        self._unhook: Callable[[], None] | None = None

    async def start(self, leaving: asyncio.Event) -> None:
        """Begin to read; when `leaving` is set, every stream ends."""
        self._number = await self._table.latest()
        self._unhook = self._issuers.on_change(self._issuers_changed)
        self._open = True
        work = (self._run(), self._leave(leaving), self._table.watch(self._changed.set))
        self._tasks = [asyncio.create_task(each) for each in work]

    async def stop(self) -> None:
        """End every stream, and read no more; may be called twice."""
        self.close()
        if self._unhook is not None:
            self._unhook()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """End every stream, so that the edges go elsewhere."""
        self._open = False
        for queue in self._queues:
            _end(queue)

    async def stream(self) -> AsyncIterator[bytes]:
        """The lines for one edge: how everything stands, then what changes, until the feed is closed."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(BEHIND)
        self._queues.add(queue)  # first, so that nothing falls between the opening and what follows
        try:
            if not self._open:
                return
            yield await self._opening()
            while (lines := await queue.get()) is not None:
                yield lines
        finally:
            self._queues.discard(queue)

    async def _opening(self) -> bytes:
        hello = {"type": "hello", "clock": time.monotonic()}
        sessions = {sid: until.timestamp() for sid, until in await self._sessions.revoked()}
        since = datetime.now(UTC) - OLDEST
        subjects = {person: moment.timestamp() for person, moment in await self._people.voided(since)}
        revoked = {"type": "revoked", "sessions": sessions, "subjects": subjects}
        return _lines([hello, self._told(), revoked, {"type": "synced"}])

    def _told(self) -> Line:
        return {"type": "issuers", "issuers": self._issuers.snapshot()}

    def _issuers_changed(self) -> None:
        self._send([self._told()])

    async def _leave(self, leaving: asyncio.Event) -> None:
        await leaving.wait()
        self.close()

    async def _run(self) -> None:
        log = logs.get("portico.auth")
        away = False
        while True:
            began = time.monotonic()
            try:
                await self._read()
            except StorageError as error:
                if not away:
                    log.warning("the edges can't be told of changes", cause=str(error))
                away = True
            else:
                away = False
                self._send([{"type": "beat", "clock": began}])
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + BEAT - time.monotonic())):
                    await self._changed.wait()
            self._changed.clear()

    async def _read(self) -> None:
        while found := await self._table.since(self._number, BATCH):
            if any(change.kind == changes.SIGNING_KEYS for change in found):
                await self._issuers.reload_own()
            self._number = found[-1].number
            self._send([line for change in found if (line := told(change)) is not None])
            if len(found) < BATCH:
                return

    def _send(self, lines: list[Line]) -> None:
        if not lines:
            return
        data = _lines(lines)
        for queue in self._queues:
            if queue.full():
                _end(queue)
            else:
                queue.put_nowait(data)


def told(change: Change) -> Line | None:
    """The line that tells the edges of a change; None for what is none of their business."""
    if change.kind == changes.KEY:
        digest = str(change.detail["sha256"])
        return {
            "type": "key",
            "id": change.subject,
            "prefix": digest[:16],
            "sha256": digest,
            "op": change.detail["op"],
        }
    if change.kind == changes.SESSION:
        return {"type": "revoked", "sessions": {change.subject: change.detail["until"]}, "subjects": {}}
    if change.kind == changes.PERSON:
        return {"type": "revoked", "sessions": {}, "subjects": {change.subject: change.detail["tokens_from"]}}
    return None


def _lines(lines: Iterable[Line]) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def _end(queue: asyncio.Queue[bytes | None]) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
