"""Writes what was noted to the chain of this process, in the transaction that does it: both are kept, or neither is.

In PostgreSQL transactions of one process take turns from here to their commit, so that numbers follow one another in
the order in which records become visible.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import AuditError, StorageError
from portico.storage.audit import chain, events, heads
from portico.storage.audit.chain import Head, Record
from portico.storage.audit.events import Event
from portico.storage.ids import now, uuid7
from portico.storage.tables import AuditKeyRow, AuditRow, AuditWriterRow, sealed_as
from portico.telemetry import logs

if TYPE_CHECKING:
    from portico.storage.vault import Vault

KEYS: Final = "audit_keys"
_WRITTEN: Final = "audit_written"


class Trail:
    """One process's chain: it begins with the first record and is never taken up again by another."""

    def __init__(self, vault: Vault) -> None:
        self.writer = uuid7()
        self.key_id = vault.fingerprint
        self._vault = vault
        self._key = vault.key("audit")
        self._published = 0  # the number of the record whose link was published last
        self._last = (0, chain.NOTHING)  # the last record that was committed: its number and link

    async def settle(self, session: AsyncSession, dialect: str) -> None:
        """Write what was noted in `session`; the row of the chain is this transaction's until it ends."""
        pending = events.taken(session)
        if not pending:
            return
        await session.flush()
        row = await self._mine(session, dialect)
        values = []
        for event in pending:
            record = self._record(event, row.sequence + 1)
            row.sequence, row.head = record.sequence, chain.record_link(self._key, row.head, record)
            values.append(_columns(record, row.head))
        await session.execute(insert(AuditRow.__table__), values)  # type: ignore[arg-type]
        prove(row, self._key)
        await session.flush()
        session.info[_WRITTEN] = (row.sequence, row.head)

    def committed(self, session: AsyncSession) -> None:
        """The transaction of `session` was committed."""
        self._last = max(self._last, session.info.pop(_WRITTEN, self._last))

    def head(self) -> Head | None:
        """How far the chain has come; None before its first record."""
        sequence, link = self._last
        return Head.of(self._key, now(), self.writer, sequence, link, self.key_id) if sequence else None

    async def publish(self) -> Head | None:
        """Write the head to its file if it is a new one, and answer it then."""
        if self._last[0] == self._published:
            return None
        head = self.head()
        assert head is not None
        try:
            await asyncio.to_thread(heads.publish, self._vault.data_dir, head)
        except (OSError, AuditError) as error:
            logs.get("portico.audit").error(
                "the head of the audit chain can't be written to its file", cause=str(error)
            )
        else:
            self._published = head.sequence
        return head

    def _record(self, event: Event, sequence: int) -> Record:
        return Record(self.writer, sequence, uuid7(), chain.microseconds(now()), **asdict(event))

    async def _mine(self, session: AsyncSession, dialect: str) -> AuditWriterRow:
        """The row of this chain, locked; made when it is not there."""
        mine = select(AuditWriterRow).where(AuditWriterRow.writer == self.writer).with_for_update()
        row = await session.scalar(mine)
        if row is not None:
            return row
        if dialect == "postgresql":
            from portico.storage.postgresql import AUDIT_LOCK

            await session.execute(text(f"SELECT pg_advisory_xact_lock({AUDIT_LOCK})"))
            row = await session.scalar(mine)
            if row is not None:  # another task's first record was quicker
                return row
        return await self._begin(session)

    async def _begin(self, session: AsyncSession) -> AuditWriterRow:
        if await session.get(AuditKeyRow, self.key_id) is None:
            sealed = self._vault.seal(self._key, sealed_as(KEYS, self.key_id))
            session.add(AuditKeyRow(id=self.key_id, sealed=sealed, created_at=now()))
        last = (
            await session.execute(
                select(AuditWriterRow.number, AuditWriterRow.link).order_by(AuditWriterRow.number.desc()).limit(1)
            )
        ).first()
        number, before = (last[0] + 1, last[1]) if last is not None else (1, chain.NOTHING)
        began = now()
        link = chain.writer_link(self._key, before, self.writer, number, self.key_id, chain.microseconds(began))
        row = AuditWriterRow(writer=self.writer, number=number, key_id=self.key_id, began=began, link=link)
        row.sequence, row.head, row.pruned, row.pruned_head = 0, link, 0, link
        prove(row, self._key)
        session.add(row)
        return row


async def settle(session: AsyncSession, dialect: str, trail: Trail | None) -> None:
    """Write what was noted in `session`; StorageError when this database can't be audited."""
    if trail is not None:
        await trail.settle(session, dialect)
    elif events.taken(session):
        raise StorageError("the change can't be recorded in the audit trail, so it is not made")


def prove(row: AuditWriterRow, key: bytes) -> None:
    """Write down the proof of what the row says."""
    row.mac = chain.state_mac(key, row.writer, row.sequence, row.head, row.pruned, row.pruned_head)


def _columns(record: Record, link: bytes) -> dict[str, object]:
    values = asdict(record)
    values["tenant_id"] = values.pop("tenant")
    return {**values, "at": chain.moment(record.at), "link": link}
