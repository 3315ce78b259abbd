"""Removes records whose time is over, from the beginning of their chains only, and leaves a proven mark of how far."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, select

from portico.storage.audit import source, trail
from portico.storage.audit.events import note
from portico.storage.tables import AuditRow, AuditWriterRow

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

BATCH: Final = 5000  # records of one transaction


async def prune(db: Database, vault: Vault, before: datetime) -> int:
    """Remove what is older than `before`, and record how far each chain was shortened; how many records."""
    async with db.read() as session:
        keys = await source.keys(session, vault)
        found = (await session.scalars(select(AuditRow.writer).where(AuditRow.at < before).distinct())).all()
    count = 0
    for writer in sorted(found):
        while removed := await _shorten(db, keys, writer, before):
            count += removed
    return count


async def _shorten(db: Database, keys: dict[str, bytes], writer: str, before: datetime) -> int:
    """One step: at most BATCH records of one chain."""
    mine = AuditRow.writer == writer
    async with db.write() as session:
        row = await session.scalar(select(AuditWriterRow).where(AuditWriterRow.writer == writer).with_for_update())
        if row is None or row.key_id not in keys:
            return 0
        # Up to the first that is to be kept; a clock that was set back keeps some longer.
        young = select(func.min(AuditRow.sequence)).where(mine, AuditRow.at >= before)
        upto = min((await session.scalar(young) or row.sequence + 1) - 1, row.pruned + BATCH)
        last = await session.scalar(select(AuditRow.link).where(mine, AuditRow.sequence == upto))
        if upto <= row.pruned or last is None:
            return 0
        removed = await session.execute(delete(AuditRow).where(mine, AuditRow.sequence <= upto))
        row.pruned, row.pruned_head = upto, last
        trail.prove(row, keys[row.key_id])
        note(session, "audit.prune", ("chain", writer), detail={"upto": upto, "before": before.isoformat()})
        return int(removed.rowcount)  # type: ignore[attr-defined]
