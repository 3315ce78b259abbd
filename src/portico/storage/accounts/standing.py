"""Whether those in whose name something goes on may still act."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.tables import KeyRow, PersonRow


async def disabled(session: AsyncSession, ids: Iterable[str]) -> set[str]:
    """Those of these ids that are people who are disabled, or keys of such people."""
    wanted = sorted({each for each in ids if each})
    if not wanted:
        return set()
    off = PersonRow.disabled_at.is_not(None)
    people = select(PersonRow.id).where(PersonRow.id.in_(wanted), off)
    keys = select(KeyRow.id).join(PersonRow, PersonRow.id == KeyRow.owner_id).where(KeyRow.id.in_(wanted), off)
    return {str(row[0]) for row in await session.execute(union_all(people, keys))}
