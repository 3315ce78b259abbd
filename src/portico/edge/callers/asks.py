"""Questions about keys that the edge does not know, or not well enough: each one once at a time, and not too many."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from typing import Any, Final

from portico.edge.callers.book import FRESH, NEVER, Book, Entry
from portico.edge.callers.wire import Wire
from portico.edge.policies.key_limits import specs_of
from portico.errors import ServicesAway
from portico.identity.principal import Principal

MOST: Final = 1024  # questions that wait for an answer; beyond, callers are told to come again
AT_ONCE: Final = 16  # of them on the wire
TIMEOUT: Final = 1.0  # seconds, waiting included
PAUSE: Final = 0.5  # seconds in which nothing is asked after nobody has answered in time
AGAIN: Final = 3  # times that a key is asked about which changes while it is being asked


class Question:
    """One key that is being asked about; `changed` when its change was told meanwhile."""

    def __init__(self, answer: asyncio.Task[Entry | None]) -> None:
        self.answer = answer
        self.changed = False


class Asks:
    """The questions of one edge process. `stale_for`: how long known keys are believed when nobody answers."""

    def __init__(self, wire: Wire, book: Book) -> None:
        self.wire = wire
        self.book = book
        self.stale_for = 60.0
        self.questions: dict[bytes, Question] = {}
        self.asked = 0
        self.down_until = 0.0
        self.lane = asyncio.Semaphore(AT_ONCE)
        self.tenants: dict[str, str] = {}  # the same text for all keys of a tenant
        self.limits: dict[Any, Any] = {}  # and the same tuple for all keys with the same limits

    async def key(self, digest: bytes) -> Entry | None:
        """The key as the services know it; None: nobody has it.

        ServicesAway when they don't answer, and what was known of the key is older than `stale_for`, or nothing was.
        """
        question = self.questions.get(digest)
        try:
            if question is None:
                question = self._begin(digest)
            return await asyncio.shield(question.answer)
        except ServicesAway:
            entry = self.book.entries.get(digest)
            if entry is None or time.monotonic() > self.book.heard(entry) + self.stale_for:
                raise
            return entry

    def changed(self, digest: bytes) -> None:
        """A change of the key was told: an answer that is on its way may be older."""
        question = self.questions.get(digest)
        if question is not None:
            question.changed = True

    def _begin(self, digest: bytes) -> Question:
        if time.monotonic() < self.down_until:
            raise ServicesAway("the services have just not answered")
        if len(self.questions) >= MOST:
            raise ServicesAway("too much is being asked of the services")
        question = Question(asyncio.ensure_future(self._ask(digest)))
        self.questions[digest] = question
        question.answer.add_done_callback(lambda done: self._end(digest, done))
        return question

    def _end(self, digest: bytes, done: asyncio.Task[Entry | None]) -> None:
        del self.questions[digest]
        if not done.cancelled():
            done.exception()  # told to those who wait; maybe nobody does any more

    async def _ask(self, digest: bytes) -> Entry | None:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._settled(digest)
        except TimeoutError:
            self.down_until = time.monotonic() + PAUSE
            raise ServicesAway("the services did not answer in time") from None

    async def _settled(self, digest: bytes) -> Entry | None:
        """An answer that nothing has overtaken: no change, and no second in which this process may have been paused."""
        body = json.dumps({"sha256": digest.hex()}).encode()
        async with self.lane:
            for _ in range(AGAIN):
                self.questions[digest].changed = False
                generation, began = self.book.generation, time.monotonic()
                self.asked += 1
                status, told = await self.wire.ask(b"POST", b"/_portico/keys", body)
                if not self.questions[digest].changed and time.monotonic() - began <= FRESH:
                    return self._answered(digest, status, told, generation, began)
        raise ServicesAway("a key changed again and again while it was asked about")

    def _answered(self, digest: bytes, status: int, told: bytes, generation: int, began: float) -> Entry | None:
        if status != 200:
            raise ServicesAway(f"the services answered {status}")
        try:
            record = json.loads(told)["key"]
            entry = None if record is None else self._entry(digest, record, generation, began)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ServicesAway("the services gave an answer that can't be read") from None
        if entry is None:
            self.book.nobodys(digest)
        else:
            self.book.keep(entry)
        return entry

    def _entry(self, digest: bytes, record: dict[str, Any], generation: int, began: float) -> Entry:
        tenant = str(record["tenant"])
        if len(self.tenants) < MOST:
            tenant = self.tenants.setdefault(tenant, tenant)
        principal = Principal(str(record["id"]), "key", tenant, tuple(record["permissions"]))
        principal.counted = str(record.get("family") or principal.id)
        expires = record["expires"]
        networks: list[object] = [ipaddress.ip_network(each, strict=False) for each in record["networks"]]
        entry = Entry(digest, principal, NEVER if expires is None else float(expires), networks, generation, began)
        limits = specs_of(record)
        entry.limits = self.limits.setdefault(limits, limits) if len(self.limits) < MOST else limits
        return entry
