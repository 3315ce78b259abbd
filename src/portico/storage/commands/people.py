"""`portico people …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from portico.errors import CommandError
from portico.storage.accounts.people import People
from portico.storage.accounts.records import TENANT
from portico.storage.accounts.rules import PAGE
from portico.storage.commands.arguments import Arguments, answered, page, plain
from portico.storage.commands.tokens import check_roles

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault


async def create(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """email, and optionally name, password, roles, tenant, known_roles (the gateway's, for the check of `roles`)."""
    given = Arguments(arguments)
    email, name, password = given.text("email"), given.text("name", ""), given.text("password", "")
    roles, tenant = given.texts("roles", ("user",)), given.text("tenant", TENANT)
    check_roles(roles, given.texts("known_roles"))
    given.end()
    if not email:
        raise CommandError("email is needed")
    people = People(db)
    try:
        with answered():
            return plain(await people.create(email, password or None, roles, tenant, name))
    finally:
        people.close()


async def show_all(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """Optionally tenant, after (a cursor), limit."""
    given = Arguments(arguments)
    tenant, after, limit = given.text("tenant", ""), given.text("after", ""), given.whole("limit")
    given.end()
    with answered():
        return page(*await People(db).list(tenant=tenant or None, after=after or None, limit=limit or PAGE))


async def disable(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """id or email, and optionally disabled (false: let in again)."""
    given = Arguments(arguments)
    id, email, disabled = given.text("id", ""), given.text("email", ""), given.truth("disabled", True)  # noqa: A001
    given.end()
    people = People(db)
    if email:
        found = await people.by_email(email)
        if found is None:
            raise CommandError("there is no person with this e-mail address; `portico people list` shows them")
        id = found.id  # noqa: A001
    if not id:
        raise CommandError("id or email is needed")
    with answered():
        return plain(await people.update(id, disabled=disabled))


COMMANDS: Final = {"people.create": create, "people.list": show_all, "people.disable": disable}
