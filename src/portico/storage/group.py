"""Group commit: what comes while a transaction is waited for or committed goes together into the next one.

A transaction costs a millisecond or more, what it does often much less. So under load a thousand small ones become a
few, and a single one waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Generic, TypeVar

from portico.errors import StorageError

Session = TypeVar("Session")
Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST: Final = 200  # items of one transaction
LINGER: Final = 0.008  # seconds that a group waits for more, where the one before was not alone


class Group(Generic[Session, Item, Answer]):
    """`begin` begins a transaction, such as `Database.write`; `write` writes some items in it, and answers or refuses
    each.

    When one of the two raises, or the commit, nothing was written: each item is then tried by itself, so that one that
    can't be written fails alone. A StorageError fails all of them.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[Session]],
        write: Callable[[Session, Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        linger: float = LINGER,
    ) -> None:
        self._begin = begin
        self._write = write
        self._linger = linger
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Answer:
        """What `write` answers for this item, once it is committed. One that nobody waits for any more is written too.

        Raises what was raised, or given as the item's answer.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            # Its own context: it acts for many, so for none of them.
            self._task = asyncio.create_task(self._work(), context=contextvars.Context())
        return await future

    async def _work(self) -> None:
        crowded = False
        try:
            while self._waiting:
                if len(self._waiting) < MOST:
                    await asyncio.sleep(self._linger if crowded else 0)
                crowded = await self._commit([]) > 1
        finally:
            self._task = None

    async def _commit(self, some: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> int:
        """Write `some`, or what waits when the transaction has begun; how many."""
        answers: Sequence[Answer | Exception]
        try:
            async with self._begin() as session:
                some = some or self._taken()
                answers = await self._write(session, [item for item, _ in some])
        except Exception as error:
            some = some or self._taken()
            if len(some) > 1 and not isinstance(error, StorageError):
                for each in some:
                    await self._commit([each])
                return len(some)
            answers = [error] * len(some)
        except asyncio.CancelledError:
            for _, future in some:
                future.cancel()
            raise
        for (_, future), answer in zip(some, answers, strict=True):
            if future.done():  # whoever asked has left
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return len(some)

    def _taken(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        return [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
