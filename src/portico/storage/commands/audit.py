"""`portico audit list`. Exporting and verifying read everything, and are done by the command itself: `cli/audit.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from portico.errors import CommandError
from portico.storage.accounts.rules import PAGE
from portico.storage.audit.search import Wanted, find
from portico.storage.commands.arguments import Arguments, answered, page
from portico.storage.ids import now

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault


async def show_all(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """Optionally since, until, actor, action, object, result, request, tenant, after (a cursor), limit."""
    given = Arguments(arguments)
    tenant = given.text("tenant", "")
    wanted = Wanted(
        since=_moment("since", given.text("since", "")),
        until=_moment("until", given.text("until", "")),
        actor=given.text("actor", ""),
        action=given.text("action", ""),
        object=given.text("object", ""),
        result=given.text("result", ""),
        request_id=given.text("request", ""),
        tenant=tenant or None,
    )
    after, limit = given.text("after", ""), given.whole("limit")
    given.end()
    with answered():
        return page(*await find(db, wanted, after or None, limit or PAGE))


def _moment(name: str, text: str) -> datetime | None:
    """A time (RFC 3339; UTC where it has no zone), or how long ago it was."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass  # then it is a duration
    from portico.config import units  # here: storage loads nothing of `portico.config` by itself

    try:
        return now() - timedelta(seconds=units.duration(text))
    except ValueError:
        raise CommandError(f"{name} must be a time such as 2026-01-31T12:00:00Z, or how long ago: 30m, 7d") from None


COMMANDS: Final = {"audit.list": show_all}
