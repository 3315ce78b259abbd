"""Verifying what the database has, or what an export has, with the keys of this vault."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from portico.storage.audit import source
from portico.storage.audit.chain import Head
from portico.storage.audit.verify import Report, Verifier
from portico.storage.backup.rows import one_moment

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

Progress = Callable[[int], None]  # told how many records were read
STEP: Final = 10_000


async def database(db: Database, vault: Vault, heads: Iterable[Head], progress: Progress = lambda _: None) -> Report:
    """All of the open `db` as of one moment, against `heads` too."""
    async with one_moment(db) as session:
        keys = await source.keys(session, vault)
        verifier = Verifier(keys, await source.writers(session), heads)
        count = 0
        async for batch in source.records(session):
            for record, link in batch:
                verifier.take(record, link)
            count += len(batch)
            progress(count)
    return verifier.report()


def export(
    lines: Iterable[str], keys: dict[str, bytes], heads: Iterable[Head], progress: Progress = lambda _: None
) -> Report:
    """An export, which needs no database; AuditError when it can't be read. Blocks."""
    writers, records = source.read(lines)
    verifier = Verifier(keys, writers, heads)
    for count, (record, link) in enumerate(records, 1):
        verifier.take(record, link)
        if count % STEP == 0:
            progress(count)
    return verifier.report()
