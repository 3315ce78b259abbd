"""The stream of what changes: keys, issuers, revoked tokens, and the beats that say how fresh all that is."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from contextlib import suppress
from typing import Any, Final

from portico.edge.callers.asks import Asks
from portico.edge.callers.book import NEW, Book
from portico.edge.callers.tokens import Revoked, Tokens
from portico.edge.callers.wire import PAST, Answer, Wire
from portico.errors import ServicesAway
from portico.telemetry import logs

HELLO: Final = 1.0  # seconds for the services to begin the stream
SILENCE: Final = 2.0  # seconds without a line after which the stream is taken for dead
FIRST_PAUSE: Final = 0.05  # seconds between two tries, doubled up to
LONGEST_PAUSE: Final = 0.5
TOLD: Final = 5  # tries in vain after which the log is told: a start or a restart of the services needs fewer
NOT_FOUND: Final = 404
WAITING: Final = 1024  # requests that wait for a beat
BROKEN: Final = (*PAST, KeyError, TypeError, AttributeError, ServicesAway, TimeoutError)


class Changes:
    """Reads the stream for as long as the process runs, and keeps book, tokens and questions up to date."""

    def __init__(self, wire: Wire, book: Book, asks: Asks, tokens: Tokens) -> None:
        self.wire = wire
        self.book = book
        self.asks = asks
        self.tokens = tokens
        self.clock = 0.0  # of the last beat
        self.lost_at = -1e9  # when the services were last found to be away (monotonic)
        self.fetching: asyncio.Task[None] | None = None
        self.since: set[int] = set()  # prefixes of keys added since they are being fetched
        self.revoked = Revoked()  # what this stream has told
        self.begun = False  # the stream's beginning is complete
        self.listed = False  # and so is the list of prefixes
        self.tries = 0
        self.waiting: dict[asyncio.Future[None], float] = {}
        self.writer: asyncio.StreamWriter | None = None
        self.began = 0.0  # when this try began
        self.wake = asyncio.Event()  # set by who can't wait for the next try

    async def run(self) -> None:
        """Read, and begin again when it ends."""
        log = logs.get("portico.edge")
        while True:
            try:
                await self._follow()
            except BROKEN as error:
                if self.tries == TOLD:
                    log.warning("the services' changes are not heard of; trying again", cause=str(error))
            except Exception as error:  # nobody expects it, but without this task nothing would be fresh again
                log.error("the services' changes can't be taken in; trying again", exc_info=error)
            finally:
                self._ended()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.tries)):
                    await self.wake.wait()
            self.wake.clear()
            self.tries = min(self.tries + 1, 10)

    def renew(self) -> None:
        """Begin a new stream on a new connection."""
        if self.writer is not None:
            self.writer.transport.abort()

    async def until(self, clock: float, patience: float) -> bool:
        """Wait until everything up to `clock` (monotonic) has been told; False when that takes too long."""
        if self.book.synced and self.book.fresh_at >= clock:
            return True
        if len(self.waiting) >= WAITING:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting[future] = clock
        try:
            async with asyncio.timeout(patience):
                await future
        except TimeoutError:
            return False
        finally:
            del self.waiting[future]
        return True

    # -- one stream

    async def _follow(self) -> None:
        self.began = time.monotonic()
        try:
            async with asyncio.timeout(HELLO):
                answer, self.writer = await self.wire.open(b"/_portico/changes")
        except BROKEN:
            self._lost()
            raise
        if answer.status == NOT_FOUND:
            self.book.nobody = True
            self.tokens.issuers([])  # nor does anybody vouch for tokens
            self.tries = 10
            return
        if answer.status != 200:
            self._lost()
            raise ServicesAway(f"the services answered {answer.status}")
        await self._listen(answer)

    async def _listen(self, answer: Answer) -> None:
        lines = answer.lines()
        patience = HELLO
        while True:
            try:
                async with asyncio.timeout(patience):
                    line = await anext(lines)
            except StopAsyncIteration:
                raise ServicesAway("the stream ended") from None
            except TimeoutError:
                if patience == HELLO:
                    self._lost()
                raise ServicesAway("nothing came for too long") from None
            patience = SILENCE
            if line:
                self._take(json.loads(line))
            if self.fetching is not None and self.fetching.done():
                self.fetching.result()

    def _lost(self) -> None:
        """The services are away, unless it was this process that was paused meanwhile."""
        now = time.monotonic()
        if now - self.began <= 3 * HELLO:
            self.lost_at = now

    def _take(self, told: dict[str, Any]) -> None:
        kind = told["type"]
        if kind == "key":
            self._key(told)
        elif kind == "beat":
            self.clock = min(float(told["clock"]), time.monotonic())
            self._fresh()
        elif kind == "issuers":
            self.tokens.issuers(told["issuers"])
        elif kind == "revoked":
            self.revoked.add(told)
            self.tokens.revoked.add(told)
        elif kind == "hello":
            self._hello(float(told["clock"]))
        elif kind == "synced":
            self.begun = True
            self.tokens.revoked = self.revoked
            self.tries = 0
            self._fresh()

    def _hello(self, clock: float) -> None:
        self.clock = min(clock, time.monotonic())  # what follows was read after this
        self.book.begin()
        self.begun = self.listed = False
        self.revoked = Revoked()
        self._fetch()

    def _key(self, told: dict[str, Any]) -> None:
        digest = bytes.fromhex(told["sha256"])
        self.book.forget(digest)
        self.asks.changed(digest)
        if told["op"] == "gone":
            self.book.nobodys(digest)
        elif told["op"] == "added":
            prefix = int.from_bytes(digest[:8], "big")
            self.book.added.add(prefix)
            self.since.add(prefix)
            if len(self.book.added) > NEW and (self.fetching is None or self.fetching.done()):
                self._fetch()

    def _fetch(self) -> None:
        """Fetch the prefixes of all keys; those that are added meanwhile are in the stream."""
        if self.fetching is not None:
            self.fetching.cancel()
        self.since = set()
        self.fetching = asyncio.ensure_future(self._fetched())

    async def _fetched(self) -> None:
        status, told = await self.wire.ask(b"GET", b"/_portico/keys/prefixes")
        if status != 200 or len(told) % 8:
            raise ServicesAway(f"the services gave no list of keys: {status}")
        prefixes = array("Q")
        prefixes.frombytes(told)
        if sys.byteorder == "little":
            prefixes.byteswap()
        self.book.prefixes = prefixes
        self.book.added = self.since
        self.listed = True
        self._fresh()

    def _fresh(self) -> None:
        """A beat has come, or the last piece of the beginning."""
        book = self.book
        if not book.synced:
            if not (self.begun and self.listed):
                return
            book.synced = True
        if not book.fresh(self.clock):
            self.asks.down_until = 0.0  # they are back
        book.fresh_at = self.clock
        self.tokens.revoked.sweep(time.time())
        for future, clock in self.waiting.items():
            if clock <= self.clock and not future.done():
                future.set_result(None)

    def _ended(self) -> None:
        if self.fetching is not None:
            self.fetching.cancel()
            self.fetching.add_done_callback(_heard)
            self.fetching = None
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None


def _heard(task: asyncio.Task[None]) -> None:
    with suppress(asyncio.CancelledError):
        task.exception()
