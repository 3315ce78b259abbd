"""Records of the spool → the database, each exactly once, whoever is killed when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.database import POSTGRESQL, Database
from portico.storage.ids import now
from portico.storage.tables import SpoolKeyRow, SpoolWriterRow, sealed_as
from portico.storage.vault import Vault
from portico.telemetry import logs
from portico.telemetry.spool import Record, SpoolKey

if TYPE_CHECKING:
    from portico.storage.tables.base import Base

# Takes records of one kind, {"kind", "at", "rows"} each, in the session's transaction.
Taker = Callable[[AsyncSession, list[dict[str, Any]]], Awaitable[None]]
LABEL: Final = "spool"
UNFIT: Final = (TypeError, ValueError, LookupError, StatementError)  # a record is not as its taker wants it


class SpoolIntake:
    """Takes records in. One process at a time does so for one spool."""

    def __init__(self, db: Database, vault: Vault, takers: Mapping[str, Taker]) -> None:
        self._db = db
        self._vault = vault
        self._takers = dict(takers)
        self._unknown: set[str] = set()
        self.refused = 0  # records that no taker could take

    async def taken(self, writer: UUID) -> int:
        """The last of the writer's records that was taken in; 0: none was."""
        async with self._db.read() as session:
            found = select(SpoolWriterRow.sequence).where(SpoolWriterRow.writer == str(writer))
            return int(await session.scalar(found) or 0)

    async def take(self, writer: UUID, records: list[Record]) -> None:
        """Take the records that were not taken before. A record that can't be kept is told in the log and passed over.

        StorageError: the database can't take anything now, and has taken none of these.
        """
        try:
            await self._take(writer, records)
        except UNFIT as error:
            if len(records) > 1:
                for record in records:
                    await self.take(writer, [record])
                return
            self.refused += 1
            record = records[0]
            logs.get("portico.usage").error(
                "a record of the spool can't be kept", kind=record.kind, sequence=record.sequence, exc_info=error
            )
            await self._take(writer, [Record(record.sequence, record.kind, record.at, [])])

    async def forget(self, writer: UUID) -> None:
        """The writer is gone, and so are its files."""
        async with self._db.write() as session:
            await session.execute(delete(SpoolWriterRow).where(SpoolWriterRow.writer == str(writer)))

    async def keys(self) -> dict[str, SpoolKey]:
        """Every key that a segment may have been written with; today's is noted, so that a rekey keeps it."""
        today = SpoolKey(self._vault.key(LABEL))
        async with self._db.read() as session:
            rows = (await session.execute(select(SpoolKeyRow.id, SpoolKeyRow.sealed))).all()
        known = {row.id: SpoolKey(self._vault.unseal(row.sealed, sealed_as("spool_keys", row.id))) for row in rows}
        if today.id not in known:
            known[today.id] = today
            sealed = self._vault.seal(today.secret, sealed_as("spool_keys", today.id))
            values = {"id": today.id, "sealed": sealed, "created_at": now()}
            async with self._db.write() as session:
                await session.execute(self._insert(SpoolKeyRow).values(values).on_conflict_do_nothing())
        return known

    async def _take(self, writer: UUID, records: list[Record]) -> None:
        async with self._db.write() as session:
            row = select(SpoolWriterRow.sequence).where(SpoolWriterRow.writer == str(writer)).with_for_update()
            before = int(await session.scalar(row) or 0)
            fresh = [record for record in records if record.sequence > before]
            if not fresh:
                return
            kinds: dict[str, list[dict[str, Any]]] = {}
            for record in fresh:
                if record.rows:
                    plain = {"kind": record.kind, "at": record.at, "rows": record.rows}
                    kinds.setdefault(record.kind, []).append(plain)
            for kind, plains in kinds.items():
                await self._hand(session, kind, plains)
            values = {"writer": str(writer), "sequence": fresh[-1].sequence, "at": now()}
            insert = self._insert(SpoolWriterRow).values(values)
            changed = {"sequence": insert.excluded.sequence, "at": insert.excluded.at}
            await session.execute(insert.on_conflict_do_update(index_elements=["writer"], set_=changed))

    async def _hand(self, session: AsyncSession, kind: str, records: list[dict[str, Any]]) -> None:
        taker = self._takers.get(kind)
        if taker is not None:
            await taker(session, records)
        elif kind not in self._unknown:
            self._unknown.add(kind)
            logs.get("portico.usage").warning("the spool has records that nobody here takes; they go", kind=kind)

    def _insert(self, table: type[Base]) -> Any:
        return postgresql.insert(table) if self._db.dialect == POSTGRESQL else sqlite.insert(table)
