"""The whole trail as a file: lines of JSON that can be verified anywhere, or a table for spreadsheets."""

from __future__ import annotations

import csv
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TextIO

from portico.storage.audit import chain, source
from portico.storage.audit.chain import NAMES
from portico.storage.audit.events import note
from portico.storage.backup.rows import one_moment

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from portico.storage.database import Database

JSONL: Final = "jsonl"
CSV: Final = "csv"
FORMATS: Final = (JSONL, CSV)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is computed by spreadsheets


async def export(db: Database, out: TextIO, form: str, name: str) -> int:
    """Write every record to `out`, the one that says so too; how many."""
    async with db.write() as session:
        note(session, "audit.export", ("file", name), detail={"format": form})
    async with one_moment(db) as session:
        return await (source.export(session, out) if form == JSONL else _csv(session, out))


async def _csv(session: AsyncSession, out: TextIO) -> int:
    table = csv.writer(out)
    table.writerow((*NAMES, "link"))
    count = 0
    async for batch in source.records(session):
        for record, link in batch:
            values: dict[str, Any] = {**asdict(record), "at": chain.moment(record.at).isoformat()}
            table.writerow([_cell(value) for value in values.values()] + [link.hex()])
        count += len(batch)
    return count


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
