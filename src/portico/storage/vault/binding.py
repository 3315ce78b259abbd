"""Which database belongs to which vault, so that neither is ever used, or made anew, without the other.

An SQLite file that has been made is named in vault.json. A PostgreSQL database holds a mark with the fingerprint of the
master key, since there the vault seals fields only, and nothing else would tell.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portico.errors import VaultError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from portico.storage.database import Database
    from portico.storage.vault.vault import Vault

PREFIX: Final = "vault/"  # of the mark's name; the fingerprint follows


async def open_database(vault: Vault, database: Database) -> None:
    """Open `database`, which must be this vault's, or be new; from now on this process's chain records what is done.

    VaultError when it is gone though it was made before, or when it is another vault's; StorageError as its own `open`.
    """
    from portico.storage.audit.trail import Trail

    database.trail = Trail(vault)
    if database.path is not None:
        vault.expect(database.path)
        await database.open()
        vault.remember(database.path)
        return
    await database.open()
    try:
        await _bind(vault, database)
    except BaseException:
        await database.close()
        raise


async def owner(session: AsyncSession) -> str | None:
    """The fingerprint of the vault whose database this is."""
    from sqlalchemy import select

    from portico.storage.tables import MarkRow

    name = await session.scalar(select(MarkRow.name).where(MarkRow.name.startswith(PREFIX)))
    return name.removeprefix(PREFIX) if name else None


async def own(session: AsyncSession | AsyncConnection, fingerprint: str) -> None:
    """Write down whose database this is, from the end of this transaction on."""
    from sqlalchemy import delete, insert

    from portico.storage.tables import MarkRow

    await session.execute(delete(MarkRow).where(MarkRow.name.startswith(PREFIX)))
    await session.execute(insert(MarkRow).values(name=PREFIX + fingerprint, at=datetime.now(UTC)))


def name_in(data_dir: Path, path: Path) -> str:
    """How vault.json names an SQLite file: relative where it is inside the data directory."""
    return str(path.relative_to(data_dir)) if path.is_relative_to(data_dir) else str(path.absolute())


async def _bind(vault: Vault, database: Database) -> None:
    from sqlalchemy import text

    async with database.read() as session:
        found = await owner(session)
    if found is None:
        async with database.write() as session:
            await session.execute(text("LOCK TABLE marks IN SHARE ROW EXCLUSIVE MODE"))
            found = await owner(session)
            if found is None:
                await own(session, vault.fingerprint)
                return
    if found != vault.fingerprint:
        raise VaultError(
            "the database of storage.url belongs to another vault: "
            f"put that one's vault.json and its secret into {vault.data_dir}"
        )
