"""Commands that open the vault and the database themselves, also beside a running gateway."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

Result = TypeVar("Result")


def run(
    config: Path | None,
    data_dir: Path | None,
    work: Callable[[Database, Vault], Awaitable[Result]],
    *,
    closed: bool = False,
) -> Result:
    """What `work` answers for the database of `storage.url`, which is open unless `closed`. The operator acts."""
    import asyncio

    from portico.storage.audit import acting, operator
    from portico.storage.database import Database
    from portico.storage.vault import Vault
    from portico.storage.vault.binding import open_database

    where, url = place(config, data_dir)
    vault = Vault.open(where, passphrase_of(where))
    database = Database(url, where, vault.key("database"))

    async def opened() -> Result:
        if not closed:
            await open_database(vault, database)
        try:
            return await work(database, vault)
        finally:
            await database.close()

    with acting(operator()):
        return asyncio.run(opened())


def record(config: Path | None, data_dir: Path | None, passphrase: str | None, action: str) -> list[str]:
    """Record what was done to the vault, which `passphrase` opens now; a line when that can't be.

    It is done already: a vault must be openable also when its database is lost.
    """
    import asyncio

    from portico.errors import PorticoError
    from portico.storage.audit import acting, note, operator
    from portico.storage.database import Database
    from portico.storage.vault import Vault
    from portico.storage.vault.binding import open_database

    async def noted(vault: Vault, database: Database) -> None:
        await open_database(vault, database)
        try:
            async with database.write() as session:
                note(session, action, ("vault", vault.header.id))
        finally:
            await database.close()

    try:
        where, url = place(config, data_dir)
        vault = Vault.open(where, passphrase)
        database = Database(url, where, vault.key("database"))
        if database.path is None or database.path.exists():  # else there is nothing yet that could be audited
            with acting(operator()):
                asyncio.run(noted(vault, database))
    except PorticoError as error:
        return [f"this is not in the audit trail: {error}"]
    return []


def place(config: Path | None, data_dir: Path | None) -> tuple[Path, str]:
    """The data directory and `storage.url`."""
    from portico.runtime import find
    from portico.runtime.build import Builder
    from portico.runtime.options import UpOptions

    where = find.locate(config, data_dir)
    options = UpOptions(config=config or find.default_config(), data_dir=where)
    return where, Builder(options).settings().storage.url


def passphrase_of(where: Path) -> str | None:
    """What opens the vault of `where`; asked for at the terminal when it must be."""
    from portico.cli import passphrase
    from portico.storage.vault.slots import FILE

    return passphrase.present(where) if (where / FILE).exists() else given()


def given() -> str | None:
    """The passphrase of the environment."""
    from portico.cli import passphrase

    return os.environ.get(passphrase.PRESENT)
