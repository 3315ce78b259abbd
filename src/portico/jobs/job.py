"""A job as its handler sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import LeaseLost
from portico.jobs.claims import Claim
from portico.jobs.finish import is_held, succeeded, write
from portico.storage.database import Database

NOTE: Final = 200  # characters


class Job:
    """What `Handler.run` is given. `token` grows with every claim of the job: a fencing token for others to compare."""

    def __init__(self, claim: Claim, db: Database, turns: asyncio.Semaphore) -> None:
        self.claim = claim
        self.id = claim.id
        self.kind = claim.kind
        self.queue = claim.queue
        self.tenant = claim.tenant
        self.owner = claim.owner
        self.payload = claim.payload
        self.attempt = claim.attempt  # 1 is the first
        self.token = claim.fence
        self.cancelled = False  # someone wants it to end; `run` gets a CancelledError as well
        self.finished = False  # `effect(finish=True)` was committed
        self.told: dict[str, Any] | None = None  # progress that is not written yet
        self._db = db
        self._turns = turns  # effects of one worker at a time, so that it gets to the database itself

    async def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        """Tell how far it is, in whatever is counted; `note` is for people. Written within a second."""
        self.told = {"done": done, "total": total, "note": note[:NOTE]}

    @asynccontextmanager
    async def effect(
        self, *, finish: bool = False, result: dict[str, Any] | None = None
    ) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed only while the job is this worker's: LeaseLost otherwise, before the block.

        With `finish` the job succeeds in the same transaction, with this result: what the block writes then happens
        exactly once, whenever a process dies. Nothing that `run` does afterwards changes the job.
        """
        async with self._turns, self._db.write() as session:
            await self._hold(session)
            yield session
            if finish:
                await write(session, self._db, [succeeded(self.claim, result)])
        self.finished = self.finished or finish

    async def _hold(self, session: AsyncSession) -> None:
        """Keep the row as it is until the transaction ends; in SQLite nobody else writes meanwhile."""
        if not await is_held(session, self.claim):
            raise LeaseLost("the job is not this worker's any more")
