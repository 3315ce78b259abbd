"""The first administrator of a new gateway, and the file with its API key."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from portico.storage.accounts import Keys, NewKey, People, Person
from portico.storage.accounts.people import ADMINISTRATOR
from portico.telemetry import logs

FILE: Final = "gateway_token"


async def administrator(data_dir: Path, people: People, keys: Keys) -> None:
    """Create the administrator and its key, which may do everything and never expires, once for a database.

    The key is written to `gateway_token` (0600) in the data directory. The file is there, empty, before anything is
    created: an empty one says that a start was broken off, and the next one goes on. Whoever removes the file gets no
    new one; `portico token create` makes further tokens.
    """
    path = data_dir / FILE
    unfinished = path.exists()
    if unfinished and path.stat().st_size:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with suppress(BlockingIOError):  # another process does it
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await _create(path, descriptor, people, keys, unfinished)
    finally:
        os.close(descriptor)


async def _create(path: Path, descriptor: int, people: People, keys: Keys, unfinished: bool) -> None:
    if os.fstat(descriptor).st_size:
        return
    person = await people.first_administrator()
    if person is None and unfinished:
        person = await _find(people)
    if person is None:
        with suppress(FileNotFoundError):
            path.unlink()
        return
    new = NewKey(FILE, person.id, person.tenant, ("*",), per_minute=0, per_day=0)
    _, key = await keys.issue(new)
    os.write(descriptor, f"{key}\n".encode())
    os.fsync(descriptor)
    logs.get("portico.auth").info("created the first administrator; its API key is in a file", file=str(path))


async def _find(people: People) -> Person | None:
    """The administrator whom a start that was broken off has created: nobody was created before."""
    found, _ = await people.list(limit=1)
    return next((person for person in found if person.name == ADMINISTRATOR and not person.email), None)
