"""Whose clock decides when a job is due: the database's on PostgreSQL, the machine's on SQLite.

Leases go by no clock at all (see `peers`), and a job without a delay has no time, so a clock that jumps makes delayed
jobs early or late, and nothing else.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage import ids
from portico.storage.database import POSTGRESQL, Database


async def now(session: AsyncSession, db: Database) -> datetime:
    """The present in UTC."""
    if db.dialect != POSTGRESQL:
        return ids.now()
    moment: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return moment.astimezone(UTC)


def later(moment: datetime, delay: float, at: datetime | None) -> datetime | None:
    """When a job is due that is put off; None: now."""
    due = moment + timedelta(seconds=delay) if at is None else at.astimezone(UTC)
    return due if due > moment else None
