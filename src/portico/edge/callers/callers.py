"""Who calls, as one edge process knows it: keys, tokens, and what the services tell of both. Outlives reloads."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any, Final

from portico import contracts
from portico.edge.callers.asks import Asks
from portico.edge.callers.book import FRESH, Book, Entry
from portico.edge.callers.changes import BROKEN, Changes
from portico.edge.callers.failures import Failures
from portico.edge.callers.tokens import Tokens
from portico.edge.callers.wire import Wire
from portico.errors import ServicesAway, TokenError
from portico.identity.principal import Principal
from portico.identity.roles import Roles

PATIENCE: Final = 1.0  # seconds that a request waits for the services
SHORT: Final = 0.3  # the same while the services are away and what was known has become too old
LOST: Final = 2.0  # seconds for which services that were found to be away are not waited for
TELL_EVERY: Final = 5.0  # seconds between two words about which keys were used
TOLD_AT_ONCE: Final = 1000
REFRESH_EVERY: Final = 10.0  # seconds between two wishes for an issuer's keys
UNKNOWN_KEY: Final = "token_unknown_key"


class Callers:
    """`path` is the services' private socket, "" where there are none: then only the file's keys are known."""

    def __init__(self, path: str = "", key: bytes = b"") -> None:
        self.present = bool(path)
        self.book = Book()
        self.tokens = Tokens()
        self.failures = Failures()
        self.wire = Wire(path, key)
        self.asks = Asks(self.wire, self.book)
        self.changes = Changes(self.wire, self.book, self.asks, self.tokens)
        self.roles: tuple[contracts.Role, ...] = ()
        self.refused = 0  # credentials that were shown and not accepted
        self._wished: dict[str, float] = {}  # issuer → when its keys were wished for last
        self._tasks: set[asyncio.Task[Any]] = set()

    def configure(self, identity: contracts.Identity) -> None:
        """What a new snapshot says of identity."""
        self.asks.stale_for = identity.stale_for
        if identity.roles != self.roles:
            self.roles = identity.roles
            self.tokens.configure(Roles(identity.roles))

    def start(self) -> None:
        """Follow the changes, and tell which keys are used."""
        if self.present:
            self._spawn(self.changes.run())
            self._spawn(self._tell())

    async def stop(self) -> None:
        """Follow nothing any more."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE)
        if self.present:
            with suppress(*BROKEN):
                async with asyncio.timeout(PATIENCE):
                    await self._told_used()
        self.wire.renew()

    def renew(self) -> None:
        """Use no connection to the services any more that there is now."""
        self.wire.renew()
        self.changes.renew()

    def counts(self) -> dict[str, int]:
        """What the metrics show."""
        return {
            "token_cache_hits": self.tokens.hits,
            "token_cache_misses": self.tokens.misses,
            "credentials_refused": self.refused,
            "key_lookups": self.asks.asked,
        }

    # -- keys

    def known(self, digest: bytes, now: float) -> Entry | None:
        """The key with this SHA-256, if what is known of it counts at `now`."""
        entry = self.book.entries.get(digest)
        return entry if entry is not None and self.book.counts(entry, now) else None

    async def key(self, digest: bytes, now: float) -> Entry | None:
        """The key with this SHA-256, asked for if need be; None: nobody has it. ServicesAway: that can't be known.

        A key that nobody has as of the last beat may have been made since: the next one is waited for.
        """
        book = self.book
        if book.nobody:
            return None
        if book.fresh(now) and digest not in book.entries and not book.may_exist(digest):
            await self.changes.until(now, PATIENCE)
            if book.fresh(time.monotonic()) and not book.may_exist(digest):
                return None
        return await self.asks.key(digest)

    # -- tokens

    async def token(self, token: bytes, now: float, wall: float) -> Principal:
        """Whom the token stands for. TokenError: nobody; ServicesAway: that can't be known."""
        unsure = self.present and not self.book.nobody and not await self.current(now)
        if unsure and time.monotonic() > self.book.fresh_at + self.asks.stale_for:
            raise ServicesAway("nothing has been heard of revoked tokens for too long")
        await self.tokens.load()
        try:
            return self.tokens.find(token, wall) or self.tokens.verify(token, wall)
        except TokenError as error:
            if error.code != UNKNOWN_KEY:
                raise
            if await self.changes.until(now, PATIENCE):  # a key that has just been made may be on its way
                with suppress(TokenError):
                    return self.tokens.verify(token, wall)
            self._wish(error.issuer, now)
            raise

    async def current(self, now: float) -> bool:
        """Whether what is known counts at `now`; waits for that, but not where nobody answers."""
        if self.book.fresh(now):
            return True
        patience = PATIENCE
        if now - self.changes.lost_at < LOST:
            if now <= self.book.fresh_at + self.asks.stale_for:
                return False
            self.changes.wake.set()  # there is nothing to fall back on: try again at once
            patience = SHORT if self.book.generation else PATIENCE
        return await self.changes.until(now - FRESH, patience)

    def _wish(self, issuer: str, now: float) -> None:
        """Have the services look for new keys of an issuer."""
        if now - self._wished.get(issuer, -REFRESH_EVERY) >= REFRESH_EVERY:
            self._wished[issuer] = now
            self._spawn(self._refresh(issuer))

    async def _refresh(self, issuer: str) -> None:
        with suppress(*BROKEN):
            async with asyncio.timeout(PATIENCE):
                await self.wire.ask(b"POST", b"/_portico/issuers/refresh", json.dumps({"issuer": issuer}).encode())

    # -- use

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY)
            with suppress(*BROKEN):
                async with asyncio.timeout(PATIENCE):
                    await self._told_used()

    async def _told_used(self) -> None:
        """Tell which keys were used when; what can't be told is kept for the next time."""
        used = self.book.used
        while used:
            some = dict(list(used.items())[:TOLD_AT_ONCE])
            status, _ = await self.wire.ask(b"POST", b"/_portico/used", json.dumps({"keys": some}).encode())
            if status >= 300:
                return
            for name, when in some.items():
                if used.get(name) == when:
                    del used[name]

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
