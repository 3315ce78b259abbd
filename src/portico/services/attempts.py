"""Slows down those who guess: by account and address together, by address, and by account."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from portico.errors import StateUnavailable
from portico.state import Store

SPAN: Final = 900.0  # seconds in which attempts are counted together
LONGEST: Final = 300.0  # seconds, the longest wait between two attempts
TURN: Final = ":turn"


@dataclass(frozen=True, slots=True)
class Rule:
    """The first `free` attempts of a span cost nothing; after each further one the wait doubles, from a second on."""

    name: str
    free: int


PAIR: Final = Rule("pair", 5)  # one account from one address
ADDRESS: Final = Rule("address", 20)  # all accounts from one address
ACCOUNT: Final = Rule("account", 50)  # one account from all addresses it is not known at


class Attempts:
    """Counts attempts before their outcome is known, so that many at once gain nothing, and forgets those that succeed.

    A stranger who guesses makes only themselves wait. The last two rules ask nothing of an address that the account
    is used from: so an owner gets in from there while the world guesses at the account, and beside someone who guesses
    at other accounts from behind the same address. Kept in `store`; while that is
    away, in `spare`, which is this process's memory.
    """

    def __init__(self, store: Store, spare: Store, what: str) -> None:
        self._store = store
        self._spare = spare
        self._what = what

    async def wait(self, account: str, address: str, known: Callable[[], Awaitable[bool]]) -> int:
        """Seconds to wait before an attempt; 0: it may be made, and is counted.

        `known` says whether the account has been used from this address; it is asked only when that matters.
        """
        wait = await self._ask(PAIR, f"{account}\0{address}")
        if not wait:
            wait = max(await self._ask(ADDRESS, address), await self._ask(ACCOUNT, account))
            if wait and await known():
                wait = 0.0
        return math.ceil(wait)

    async def succeeded(self, account: str, address: str) -> None:
        """The attempt was right: it does not count, and the account's failures from this address are forgotten."""
        pair = self._key(PAIR, f"{account}\0{address}")
        await self._do(lambda store: store.delete(pair, pair + TURN))
        for key in (self._key(ADDRESS, address), self._key(ACCOUNT, account)):
            await self._do(partial(_less, key=key))

    def _key(self, rule: Rule, text: str) -> str:
        # Hashed: neither an address nor an account is to be read in the store, and no caller chooses a key's length.
        return f"{self._what}:{rule.name}:{sha256(text.encode()).hexdigest()[:32]}"

    async def _ask(self, rule: Rule, text: str) -> float:
        key = self._key(rule, text)
        count = await self._do(lambda store: store.incr(key, SPAN))
        if count <= rule.free:
            return 0.0
        pause = min(2.0 ** min(count - rule.free - 1, 30), LONGEST)
        # One attempt has its turn; the turn comes again when the pause is over.
        turn = await self._do(lambda store: store.incr(key + TURN, pause))
        return 0.0 if turn == 1 else pause

    async def _do(self, call: Callable[[Store], Awaitable[int]]) -> int:
        try:
            return await call(self._store)
        except StateUnavailable:
            return await call(self._spare)


async def _less(store: Store, key: str) -> int:
    return await store.incr(key, SPAN, -1)
