"""The tables, one file a subject, and what the rest of `storage` must know of them.

`METADATA` has all of them: migrations are compared with it. `SEALED` names every column that holds what the vault has
sealed; a new such column must be named there, or a rekey would leave it unreadable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from portico.storage.tables.base import Base
from portico.storage.tables.changes import ChangeRow
from portico.storage.tables.keys import KeyRow
from portico.storage.tables.marks import MarkRow
from portico.storage.tables.people import InvitationRow, PersonRow, RefreshRow, SessionRow
from portico.storage.tables.signing import SigningKeyRow

__all__ = [
    "METADATA",
    "SEALED",
    "ChangeRow",
    "InvitationRow",
    "KeyRow",
    "MarkRow",
    "PersonRow",
    "RefreshRow",
    "Sealed",
    "SessionRow",
    "SigningKeyRow",
    "sealed_as",
]

METADATA: Final = Base.metadata


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column of sealed bytes; `id` is the table's key, by which `sealed_as` names the row to the vault."""

    table: str
    column: str
    id: str = "id"


SEALED: Final = (Sealed("signing_keys", "sealed"),)


def sealed_as(table: str, id: str) -> str:  # noqa: A002
    """What `Vault.seal` is told as the row: a sealed value moved to another row does not open."""
    return f"{table}/{id}"
