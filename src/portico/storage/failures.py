"""Errors of the drivers → the two that callers know: it can't be used, or it can't at this moment.

Messages come from here, never from the driver: its own may quote an address with a password, or a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portico.errors import PorticoError, StorageError, StorageUnavailable

_SQLITE: Final = (  # a part of SQLite's message, what it means, whether it passes
    ("disk is full", "the disk is full; nothing was written", True),
    ("disk I/O error", "the disk refuses to be written or read; nothing was written", True),
    ("is locked", "the database is busy; nothing was written", True),
    ("unable to open", "the database file can't be opened", True),
    ("not a database", "the database file is not one that this vault's key opens", False),
    ("malformed", "the database file is damaged; `portico db check` says more, `portico db restore` mends", False),
    ("readonly", "the database file may not be written by this user", False),
    ("no such table", "the database has not the tables that it should have", False),
)
_POSTGRES: Final = (  # the beginning of an SQLSTATE (PostgreSQL, appendix A)
    ("08", "the database server is away", True),
    ("28", "the database server refuses the user or the password of storage.url", False),
    ("3D", "the database of storage.url does not exist on its server", False),
    ("40", "the database was busy with the same rows; nothing was written", True),
    ("42501", "the user of storage.url may not use Portico's tables", False),
    ("42P01", "the database has not the tables that it should have", False),
    ("53100", "the database server's disk is full; nothing was written", True),
    ("53", "the database server has no room for more", True),
    ("55", "the database was busy with the same rows; nothing was written", True),
    ("57014", "the database took too long; nothing was written", True),
    ("57", "the database server is stopping or starting", True),
    ("25006", "the database server takes no writes at this moment", True),
)


@contextmanager
def told(*, connecting: bool = True) -> Iterator[None]:
    """Raise StorageError or StorageUnavailable for what a driver raises inside.

    A broken constraint passes as IntegrityError: repositories know what it means. So does what is our own mistake, and
    an OSError unless `connecting`: it may be that of a file that the caller writes.
    """
    try:
        yield
    except (PorticoError, IntegrityError):
        raise
    except Exception as error:
        plain = not connecting and isinstance(error, OSError)  # TimeoutError is one too
        known = None if plain else translate(error)
        if known is None:
            raise
        raise known from error


def translate(error: Exception) -> StorageError | None:
    """The error that callers know, or None when the driver's is a mistake in a statement."""
    if isinstance(error, PoolTimeout):
        return StorageUnavailable("the database is busy: no connection became free in time")
    state = sqlstate(error)
    if state:
        found = next((row for row in _POSTGRES if state.startswith(row[0])), None)
    elif _is_network(error):
        found = ("", "the database server is away", True)
    elif isinstance(error, DBAPIError) or type(error).__module__.startswith("sqlcipher3"):
        found = next((row for row in _SQLITE if row[0] in str(getattr(error, "orig", error))), None)
    else:
        found = None
    if found is None:
        return None
    return StorageUnavailable(found[1]) if found[2] else StorageError(found[1])


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's five characters, or ""."""
    original = getattr(error, "orig", error)
    return str(getattr(original, "sqlstate", None) or "")


def _is_network(error: Exception) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    original = getattr(error, "orig", None) or error
    seen = (original, original.__cause__, error.__cause__)
    if any(isinstance(each, OSError | TimeoutError) for each in seen):
        return True
    return any(type(each).__module__.startswith("asyncpg") and "onnection" in type(each).__name__ for each in seen)
