"""The whole trail, as the database has it at one moment, or as an export has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final, TextIO

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import AuditError, VaultError
from portico.storage.audit import chain
from portico.storage.audit.chain import NAMES, Record, Writer
from portico.storage.audit.trail import KEYS
from portico.storage.tables import AuditKeyRow, AuditRow, AuditWriterRow, sealed_as

if TYPE_CHECKING:
    from portico.storage.vault import Vault

BATCH: Final = 1000  # records
FORMAT: Final = "portico audit 1"
_WRITER: Final = tuple(field.name for field in fields(Writer))

Linked = tuple[Record, bytes]


async def keys(session: AsyncSession, vault: Vault) -> dict[str, bytes]:
    """The keys of chains by their ids: this master key's, and earlier ones' that were sealed anew with it."""
    found = {vault.fingerprint: vault.key("audit")}
    for id_, sealed in (await session.execute(select(AuditKeyRow.id, AuditKeyRow.sealed))).all():
        try:
            found.setdefault(id_, vault.unseal(sealed, sealed_as(KEYS, id_)))
        except VaultError:
            continue  # the chains that need it can't be verified, and the report says so
    return found


async def writers(session: AsyncSession) -> list[Writer]:
    """Every chain, in the order in which they were begun."""
    rows = (await session.scalars(select(AuditWriterRow).order_by(AuditWriterRow.number))).all()
    return [writer(row) for row in rows]


def writer(row: AuditWriterRow) -> Writer:
    """A row as the chain sees it."""
    values = {name: getattr(row, name) for name in _WRITER}
    return Writer(**{**values, "began": chain.microseconds(row.began)})


async def records(session: AsyncSession) -> AsyncIterator[list[Linked]]:
    """Every record with its link, chain by chain, in batches."""
    table = AuditRow.__table__
    columns = [table.c["tenant_id" if name == "tenant" else name] for name in NAMES]
    found = await session.stream(select(*columns, table.c.link).order_by(table.c.writer, table.c.sequence))
    async for part in found.partitions(BATCH):
        yield [linked(row) for row in part]


def linked(row: Any) -> Linked:
    """A row of the table: the fields of a record in their order, then the link."""
    values = dict(zip(NAMES, row, strict=False))
    values["at"] = chain.microseconds(values["at"])
    return Record(**values), bytes(row[len(NAMES)])


async def export(session: AsyncSession, out: TextIO) -> int:
    """Write all of it as lines of JSON, as `read` takes it; how many records."""
    head = {"format": FORMAT, "writers": [_plain(each) for each in await writers(session)]}
    out.write(json.dumps(head) + "\n")
    count = 0
    async for batch in records(session):
        for record, link in batch:
            out.write(json.dumps({**asdict(record), "link": link.hex()}) + "\n")
        count += len(batch)
    out.write(json.dumps({"records": count}) + "\n")
    return count


def read(lines: Iterable[str]) -> tuple[list[Writer], Iterator[Linked]]:
    """The chains and the records of an export, read as they are asked for. AuditError when it is none, or not whole."""
    numbered = iter(lines)
    head = _json(next(numbered, ""), 1)
    if head.get("format") != FORMAT:
        raise AuditError("the file is no export of `portico audit export --format jsonl`")
    try:
        found = [_writer(each) for each in head["writers"]]
    except (KeyError, TypeError, ValueError):
        raise AuditError("line 1 of the export can't be read") from None
    return found, _records(numbered)


def _records(lines: Iterator[str]) -> Iterator[Linked]:
    for number, line in enumerate(lines, 2):
        values = _json(line, number)
        if set(values) == {"records"}:
            if values["records"] != number - 2:
                raise AuditError(f"the export says that it has {values['records']} records, and has {number - 2}")
            return
        try:
            link = bytes.fromhex(values.pop("link"))
            record = Record(**values)
            if not isinstance(record.sequence, int) or not isinstance(record.writer, str):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise AuditError(f"line {number} of the export is no record") from None
        yield record, link
    raise AuditError("the export breaks off: its last line is missing")


def _json(line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise AuditError(f"line {number} of the export can't be read")
    return value


def _plain(each: Writer) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(each).items()}


def _writer(values: dict[str, Any]) -> Writer:
    kinds = {field.name: field.type for field in fields(Writer)}
    given: dict[str, Any] = {
        name: bytes.fromhex(values[name]) if kinds[name] == "bytes" else values[name] for name in _WRITER
    }
    if not all(isinstance(given[name], int) for name in ("number", "began", "sequence", "pruned")):
        raise ValueError
    return Writer(**given)
