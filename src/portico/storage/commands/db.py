"""`portico db …`: what can be done while a gateway runs. The rest needs the database for itself: see `cli/db.py`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from portico.errors import CommandError
from portico.storage.commands.arguments import Arguments

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault


async def backup(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """file (absolute). Answers file, made, kind, rows (table → number) and size (bytes) of a verified backup."""
    from portico.storage.backup.make import make

    given = Arguments(arguments)
    file = Path(given.text("file"))
    given.end()
    if not file.is_absolute() or "\0" in str(file):
        raise CommandError("file must be an absolute path")
    made = await make(db, vault, file)
    return {**dataclasses.asdict(made), "file": str(made.file)}


async def check(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """Answers ok, kind, schema, rows, sealed (fields that were opened) and problems (sentences)."""
    from portico.storage.backup.check import check

    Arguments(arguments).end()
    report = await check(db, vault)
    return {"ok": report.ok, **dataclasses.asdict(report)}


COMMANDS: Final = {"db.backup": backup, "db.check": check}
