"""Vault, database and repositories of one process, put together; and their upkeep."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Final

from portico import contracts
from portico.errors import StorageError
from portico.kernel.container import ServiceContainer
from portico.kernel.plugin import Health
from portico.storage.accounts import Changes, Invitations, Keys, People, Sessions, SigningKeys
from portico.storage.audit import prune, refusals
from portico.storage.backup.schedule import Schedule
from portico.storage.database import Database
from portico.storage.ids import now
from portico.storage.usage import Ranks, Recent, Retention, Usage
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database
from portico.telemetry import logs

FIRST_UPKEEP: Final = 60.0  # seconds after the start
UPKEEP: Final = 3600.0  # seconds between two
PUBLISH: Final = 60.0  # seconds between two heads of the audit chain
ANSWER: Final = 0.9  # seconds in which the database says that it is well


class Assembly:
    """What `storage` provides."""

    def __init__(self, vault: Vault, db: Database, snapshot: contracts.Snapshot) -> None:
        self.vault = vault
        self.db = db
        self.schedule = Schedule(db, vault, snapshot.backups, vault.data_dir)
        self.keys = Keys(db)
        self.people = People(db)
        self.sessions = Sessions(db)
        self.invitations = Invitations(db)
        self.signing = SigningKeys(db, vault)
        self.changes = Changes(db)
        self.usage = Usage(db)
        self.ranks = Ranks(db)
        self.recent = Recent(db)
        kept = snapshot.usage
        self.retention = Retention(db, kept.minutes, kept.hours, kept.days)
        self._audit = snapshot.audit
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def make(cls, boot: contracts.Boot, snapshot: contracts.Snapshot) -> Assembly:
        """Open the vault; the database is opened by `start`."""
        data_dir = Path(boot.data_dir)
        vault = await asyncio.to_thread(Vault.open, data_dir, boot.passphrase)
        db = Database(snapshot.storage.url, data_dir, vault.key("database"))
        return cls(vault, db, snapshot)

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
        services.provide(Usage, self.usage)
        services.provide(Ranks, self.ranks)
        services.provide(Recent, self.recent)
        services.provide(Retention, self.retention)

    async def start(self) -> None:
        """Open the database; from now on keep it tidy, and make backups."""
        await open_database(self.vault, self.db)
        self._tasks = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._publish())]
        self.schedule.start()

    async def stop(self) -> None:
        """Close everything; may be called twice, and after a start that failed."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.schedule.stop()
        await self._tell_head()
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

    async def _publish(self) -> None:
        """The head of this process's audit chain, each minute in which it has grown; once more at the end."""
        while True:
            await asyncio.sleep(PUBLISH)
            await self._tell_head()

    async def _tell_head(self) -> None:
        head = await self.db.trail.publish() if self.db.trail is not None else None
        if head is not None:
            logs.get("portico.audit").info("head of the audit chain", **asdict(head))

    async def tidy(self) -> None:
        """Remove what nobody can use any more."""
        await self.changes.prune()
        await self.sessions.prune()
        await self.invitations.prune()
        await self.signing.prune()
        await self.retention.prune(time.time())
        async with self.db.write() as session:
            await refusals.finish(session)
        if self._audit.keep:
            await prune.prune(self.db, self.vault, now() - timedelta(seconds=self._audit.keep))
