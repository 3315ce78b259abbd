"""Vault, database and repositories of one process, put together; and their upkeep."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from portico import contracts
from portico.errors import StorageError
from portico.kernel.container import ServiceContainer
from portico.kernel.plugin import Health
from portico.storage.accounts import Changes, Invitations, Keys, People, Sessions, SigningKeys
from portico.storage.backup.schedule import Schedule
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database
from portico.telemetry import logs

FIRST_UPKEEP: Final = 60.0  # seconds after the start
UPKEEP: Final = 3600.0  # seconds between two
ANSWER: Final = 0.9  # seconds in which the database says that it is well


class Assembly:
    """What `storage` provides."""

    def __init__(self, vault: Vault, db: Database, backups: contracts.Backups) -> None:
        self.vault = vault
        self.db = db
        self.schedule = Schedule(db, vault, backups, vault.data_dir)
        self.keys = Keys(db)
        self.people = People(db)
        self.sessions = Sessions(db)
        self.invitations = Invitations(db)
        self.signing = SigningKeys(db, vault)
        self.changes = Changes(db)
        self._upkeep: asyncio.Task[None] | None = None

    @classmethod
    async def make(cls, boot: contracts.Boot, snapshot: contracts.Snapshot) -> Assembly:
        """Open the vault; the database is opened by `start`."""
        data_dir = Path(boot.data_dir)
        vault = await asyncio.to_thread(Vault.open, data_dir, boot.passphrase)
        return cls(vault, Database(snapshot.storage.url, data_dir, vault.key("database")), snapshot.backups)

    def provide(self, services: ServiceContainer) -> None:
        """Offer all of it by its type."""
        services.provide(Vault, self.vault)
        services.provide(Database, self.db)
        services.provide(Keys, self.keys)
        services.provide(People, self.people)
        services.provide(Sessions, self.sessions)
        services.provide(Invitations, self.invitations)
        services.provide(SigningKeys, self.signing)
        services.provide(Changes, self.changes)

    async def start(self) -> None:
        """Open the database; from now on keep it tidy, and make backups."""
        await open_database(self.vault, self.db)
        self._upkeep = asyncio.create_task(self._keep_up())
        self.schedule.start()

    async def stop(self) -> None:
        """Close everything; may be called twice, and after a start that failed."""
        task, self._upkeep = self._upkeep, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.schedule.stop()
        await self.schedule.stop()
        self.people.close()
        await self.db.close()

    async def health(self) -> Health:
        """Answers within a second."""
        try:
            async with asyncio.timeout(ANSWER):
                took = await self.db.ping()
        except TimeoutError:
            return Health(False, f"{self.db.dialect} did not answer within {ANSWER} s")
        problem = await asyncio.to_thread(self.schedule.problem)
        detail = f"{self.db.dialect} answered in {took * 1000:.1f} ms"
        return Health(True, f"{detail}; {problem}" if problem else detail, took, problem)

    async def _keep_up(self) -> None:
        pause = FIRST_UPKEEP
        while True:
            await asyncio.sleep(pause)
            pause = UPKEEP
            try:
                await self.tidy()
            except StorageError as error:
                logs.get("portico.storage").warning("upkeep of the database put off", cause=str(error))

    async def tidy(self) -> None:
        """Remove what nobody can use any more."""
        await self.changes.prune()
        await self.sessions.prune()
        await self.invitations.prune()
        await self.signing.prune()
