"""What the command line asks for, done on an open database: by the services of a running gateway, or without one.

Each is a function `(db, vault, arguments) -> dict` of plain JSON values. CommandError names an argument that can't be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from portico.storage.commands import audit, db, keys, people, tokens, vault

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

Command = Callable[["Database", "Vault", dict[str, Any]], Awaitable[dict[str, Any]]]

COMMANDS: Final[dict[str, Command]] = {
    **keys.COMMANDS,
    **people.COMMANDS,
    **tokens.COMMANDS,
    **vault.COMMANDS,
    **db.COMMANDS,
    **audit.COMMANDS,
}
