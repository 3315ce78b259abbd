"""`portico keys …`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from portico.errors import CommandError
from portico.storage.accounts.keys import Keys
from portico.storage.accounts.records import TENANT, NewKey
from portico.storage.accounts.rules import PAGE
from portico.storage.commands.arguments import Arguments, answered, page, plain
from portico.storage.ids import now

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

GRACE: Final = 3600.0  # seconds; the default of `rotate`


async def create(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """name, and optionally tenant, owner, permissions, networks, expires, and limits.

    Limits are window, rate, burst, quota, per_minute, per_day, as in NewKey.

    Answers the record and `key`, which is not to be had again.
    """
    given = Arguments(arguments)
    expires = given.seconds("expires")
    new = NewKey(
        name=given.text("name"),
        owner=given.text("owner", ""),
        tenant=given.text("tenant", TENANT),
        permissions=given.texts("permissions"),
        per_minute=given.whole("per_minute"),
        per_day=given.whole("per_day"),
        window=given.text("window", ""),
        rate=given.text("rate", ""),
        burst=given.whole("burst") or 0,
        quota=given.text("quota", ""),
        networks=given.texts("networks"),
        expires_at=None if expires is None else now() + timedelta(seconds=expires),
    )
    given.end()
    with answered():
        record, key = await Keys(db).issue(new)
    return {**plain(record), "key": key}


async def show_all(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """Optionally tenant, owner, active (true: only those that work), after (a cursor), limit."""
    given = Arguments(arguments)
    tenant, owner = given.text("tenant", ""), given.text("owner", "")
    active, after, limit = given.truth("active", False), given.text("after", ""), given.whole("limit")
    given.end()
    with answered():
        found = await Keys(db).list(
            tenant=tenant or None, owner=owner or None, active=active, after=after or None, limit=limit or PAGE
        )
    return page(*found)


async def show(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """id."""
    id = _only_id(arguments)  # noqa: A001
    record = await Keys(db).get(id)
    if record is None:
        raise CommandError(f"there is no key {_shown(id)}; `portico keys list` shows those there are")
    return plain(record)


async def rotate(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """id, and optionally grace: how long the old key goes on working. Answers like `create`."""
    given = Arguments(arguments)
    id, grace = given.text("id"), given.seconds("grace", GRACE)  # noqa: A001
    given.end()
    with answered():
        record, key = await Keys(db).rotate(id, GRACE if grace is None else grace)
    return {**plain(record), "key": key}


async def revoke(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """id. `revoked` says whether it worked until now."""
    id = _only_id(arguments)  # noqa: A001
    keys = Keys(db)
    revoked = await keys.revoke(id)
    if not revoked and await keys.get(id) is None:
        raise CommandError(f"there is no key {_shown(id)}; `portico keys list` shows those there are")
    return {"id": id, "revoked": revoked}


def _only_id(arguments: dict[str, Any]) -> str:
    given = Arguments(arguments)
    id = given.text("id")  # noqa: A001
    given.end()
    return id


def _shown(id: str) -> str:  # noqa: A002
    """An id that was given, unless it is a key given by mistake."""
    return repr(id) if len(id) == 36 else "with this id (an id is not the key itself)"


COMMANDS: Final = {
    "keys.create": create,
    "keys.list": show_all,
    "keys.show": show,
    "keys.rotate": rotate,
    "keys.revoke": revoke,
}
