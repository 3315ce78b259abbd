"""A database of either kind, its vault and its repositories, driven from tests that are no coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import text

from portico.storage.accounts import Changes, Invitations, Keys, People, Sessions, SigningKeys
from portico.storage.audit.trail import Trail
from portico.storage.database import POSTGRESQL, Database
from portico.storage.tables import METADATA
from portico.storage.vault import Vault

T = TypeVar("T")
PASSWORD = "correct horse battery"


class Store:
    """What a services process has; `run` drives one coroutine to its end."""

    def __init__(self, url: str, data_dir: Path, *, migrated: bool = False) -> None:
        self.url = url
        self.migrated = migrated
        self.data_dir = data_dir
        self.runner = asyncio.Runner()
        self.vault = Vault.open(data_dir, None)
        self.db = self.database()
        self.keys = Keys(self.db)
        self.people = People(self.db)
        self.sessions = Sessions(self.db)
        self.invitations = Invitations(self.db)
        self.signing = SigningKeys(self.db, self.vault)
        self.changes = Changes(self.db)

    def database(self) -> Database:
        """Another one on the same tables, not open yet."""
        database = Database(self.url, self.data_dir, self.vault.key("database"))
        database.trail = Trail(self.vault)
        return database

    def __enter__(self) -> Self:
        if self.db.dialect == POSTGRESQL and not self.migrated:
            self.run(self.db.upgrade())
        self.run(self.db.open())
        return self

    def __exit__(self, *_: object) -> None:
        self.people.close()
        self.run(self.db.close())
        self.runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def empty(self) -> None:
        """Remove every row that a test before may have left; SQLite's is a new file anyway."""
        if self.db.dialect == POSTGRESQL:
            self.execute(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")

    def execute(self, statement: str, **values: Any) -> list[Any]:
        """One statement in a transaction of its own; the rows that it answers."""

        async def work() -> list[Any]:
            async with self.db.write() as session:
                result = await session.execute(text(statement), values)
                return list(result.all()) if result.returns_rows else []  # type: ignore[attr-defined]

        return self.run(work())
