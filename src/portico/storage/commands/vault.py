"""`portico vault …`: what can be done while a gateway runs. The rest needs it stopped: see the command line."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any, Final

from portico.storage.commands.arguments import Arguments

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault


async def status(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """Answers what `portico vault status` shows. `opens` is true, since these services have opened it."""
    from portico.storage.vault import manage

    Arguments(arguments).end()
    found = await asyncio.to_thread(manage.status, vault.data_dir, None)
    return {**dataclasses.asdict(found), "opens": True, "problem": ""}


COMMANDS: Final = {"vault.status": status}
