"""`portico jobs …`, done on an open database: as `portico.storage.commands`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from portico.errors import CommandError, JobRefused
from portico.jobs.handler import Handlers
from portico.jobs.jobs import Jobs
from portico.jobs.records import STATES
from portico.jobs.wake import Wake
from portico.storage.accounts.rules import PAGE
from portico.storage.commands.arguments import Arguments, answered, page, plain

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault


async def show_all(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """Optionally tenant, state, kind, queue, after (a cursor), limit. Newest first."""
    given = Arguments(arguments)
    filters = {name: given.text(name, "") or None for name in ("tenant", "state", "kind", "queue")}
    after, limit = given.text("after", ""), given.whole("limit")
    given.end()
    if filters["state"] not in (None, *STATES):
        raise CommandError(f"state must be one of {', '.join(STATES)}")
    with answered():
        return page(*await _jobs(db).list(**filters, after=after or None, limit=limit or PAGE))


async def show(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """id. With `attempts`, those before the last."""
    name, jobs = _id(arguments), _jobs(db)
    record = await jobs.get(name)
    if record is None:
        raise CommandError("there is no such job; `portico jobs list` shows them")
    return {**plain(record), "attempts": [plain(each) for each in await jobs.attempts(name)]}


async def cancel(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """id."""
    name = _id(arguments)
    with answered():
        return plain(await _jobs(db).cancel(name))


async def retry(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """id."""
    name = _id(arguments)
    with answered(), _refused():
        return plain(await _jobs(db).retry(name))


def _id(arguments: dict[str, Any]) -> str:
    given = Arguments(arguments)
    name = given.text("id")
    given.end()
    return name


def _jobs(db: Database) -> Jobs:
    return Jobs(db, Handlers(), Wake(db))


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except JobRefused as error:
        raise CommandError(str(error)) from None


COMMANDS: Final = {"jobs.list": show_all, "jobs.show": show, "jobs.cancel": cancel, "jobs.retry": retry}
