"""Is the database whole, of this version, and this vault's? Reads every page and every row, and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portico.errors import VaultError
from portico.storage import migrations
from portico.storage.backup import make, rows

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault


@dataclass
class Report:
    """What was found: rows of each table, sealed fields that were opened, and whatever is wrong, a sentence each."""

    kind: str
    schema: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    sealed: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


async def check(database: Database, vault: Vault) -> Report:
    """Look at all of `database`, which for PostgreSQL must be open. StorageError when it can't be reached."""
    report = Report(database.dialect)
    if database.path is not None:
        await asyncio.to_thread(_sqlite, report, database.path, vault)
    else:
        await _postgresql(report, database, vault)
    if report.schema != migrations.HEAD and not report.problems:
        report.problems.append(f"the schema is {report.schema or 'missing'}, and this version's is {migrations.HEAD}")
    return report


def _sqlite(report: Report, path: Path, vault: Vault) -> None:
    from sqlcipher3 import dbapi2  # type: ignore[import-untyped]

    from portico.storage import failures, sqlite
    from portico.storage.tables import SEALED

    if not path.is_file():
        report.problems.append(f"{path} is missing")
        return
    try:
        connect = sqlite.connector(path, vault.key("database"), readonly=True)
        with contextlib.closing(connect()) as connection:
            report.problems += make.unsound(connection)
            report.rows = make.counted(connection)
            if report.rows.pop(migrations.TABLE, 0):
                report.schema = connection.execute(f"SELECT version_num FROM {migrations.TABLE}").fetchone()[0]
            for each in SEALED:
                found = connection.execute(f'SELECT "{each.id}", "{each.column}" FROM "{each.table}"')
                _unseal(report, vault, each.table, found)
    except dbapi2.Error as error:
        known = failures.translate(error)
        report.problems.append(str(known) if known else f"{path} can't be read: {error}")


async def _postgresql(report: Report, database: Database, vault: Vault) -> None:
    from portico.storage.tables import SEALED
    from portico.storage.vault import binding

    report.schema = await database.schema()
    async with rows.one_moment(database) as session:
        if report.schema != migrations.HEAD:
            return
        sealed = {each.table: each for each in SEALED}
        async for batch in rows.dump(session):
            report.rows[batch.table] = report.rows.get(batch.table, 0) + len(batch.rows)
            if batch.table in sealed:
                names = list(batch.kinds)
                id_, column = names.index(sealed[batch.table].id), names.index(sealed[batch.table].column)
                _unseal(report, vault, batch.table, [(row[id_], row[column]) for row in batch.rows])
        if await binding.owner(session) not in (None, vault.fingerprint):
            report.problems.append("the database belongs to another vault")


def _unseal(report: Report, vault: Vault, table: str, found: Any) -> None:
    from portico.storage.tables import sealed_as

    for id_, sealed in found:
        try:
            vault.unseal(sealed, sealed_as(table, id_))
            report.sealed += 1
        except VaultError as error:
            report.problems.append(f"{table} {id_}: {error}")
