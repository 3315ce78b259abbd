"""What has changed, for those who must know at once: written in the transaction that changes it.

Numbers grow in the order in which changes become visible: whoever has read up to a number has missed none below it. In
SQLite there is one writer anyway; in PostgreSQL a transaction that has changes waits, at its very end, for its turn to
number them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.ids import now
from portico.storage.tables import ChangeRow

if TYPE_CHECKING:
    from portico.storage.database import Database

KEY: Final = "key"  # detail: op (added, changed, gone) and sha256 in hex
SESSION: Final = "session"  # ended; detail: until, the time (epoch) when its last access token expires
PERSON: Final = "person"  # detail: tokens_from, the time (epoch) before which made access tokens are void
SIGNING_KEYS: Final = "signing_keys"  # the subject is the new kid
KEPT: Final = timedelta(days=1)
MOST: Final = 10_000
_PENDING: Final = "changes"


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as it was written."""

    number: int
    at: datetime
    kind: str
    subject: str
    detail: dict[str, Any]


class Changes:
    """The changes of the last day. Whoever is further behind must begin anew from the tables themselves."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @staticmethod
    def append(session: AsyncSession, kind: str, subject: str, detail: dict[str, Any]) -> None:
        """Note a change; it is written at the end of the session's transaction, or not at all."""
        session.info.setdefault(_PENDING, []).append((kind, subject, detail))

    async def latest(self) -> int:
        """The highest number so far; 0 when there is none."""
        async with self._db.read() as session:
            return int(await session.scalar(select(func.max(ChangeRow.number))) or 0)

    async def since(self, number: int, limit: int = 1000) -> list[Change]:
        """The changes after `number`, in order, at most `limit`."""
        wanted = select(ChangeRow).where(ChangeRow.number > number).order_by(ChangeRow.number)
        async with self._db.read() as session:
            rows = (await session.scalars(wanted.limit(min(limit, MOST)))).all()
        return [Change(row.number, row.at, row.kind, row.subject, row.detail) for row in rows]

    async def prune(self, kept: timedelta = KEPT) -> int:
        """Remove what is older than `kept`, but not the newest; how many were removed."""
        newest = select(func.max(ChangeRow.number)).scalar_subquery()
        old = delete(ChangeRow).where(ChangeRow.at < now() - kept, ChangeRow.number < newest)
        async with self._db.write() as session:
            return int((await session.execute(old)).rowcount)  # type: ignore[attr-defined]

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` soon after anyone, in any process, has changed something; runs until it is cancelled.

        It may call for nothing, and calls after a connection was lost. Within 300 ms, or 700 ms where PostgreSQL's
        notifications are lost; while the database is away, not at all: `since` tells.
        """
        from portico.storage import watch

        await watch.watch(self._db, on_change)


async def settle(session: AsyncSession, dialect: str) -> None:
    """Write what was appended to `session`; the last thing before its commit."""
    pending = session.info.pop(_PENDING, None)
    if not pending:
        return
    await session.flush()
    postgresql = dialect == "postgresql"
    if postgresql:
        from portico.storage.postgresql import CHANGES_LOCK, CHANNEL

        await session.execute(text(f"SELECT pg_advisory_xact_lock({CHANGES_LOCK})"))
    moment = now()
    for kind, subject, detail in pending:
        session.add(ChangeRow(at=moment, kind=kind, subject=subject, detail=detail))
    await session.flush()
    if postgresql:
        await session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
