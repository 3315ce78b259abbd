"""Backups by the clock (`backups: {every, keep, to}`): one process of a data directory makes them, keeps the newest.

A lock file decides which. A backup gets its name when it has been verified, and only then are older ones removed; so
a full disk or a kill leaves those that there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portico.contracts import Backups
from portico.errors import PorticoError
from portico.telemetry import logs

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

FOLDER: Final = "backups"  # in the data directory, unless `backups.to` says where
LOCK: Final = ".lock"
NAME: Final = re.compile(r"portico-(\d{8}T\d{6}Z)\.backup")
TIME: Final = "%Y%m%dT%H%M%SZ"
LOOK: Final = 60.0  # seconds after which another process's lock, or the clock, is looked at again
LONGEST_RETRY: Final = 3600.0
SHORTEST: Final = 1.0  # seconds between two: a name tells no less
FIRST: Final = 5.0  # seconds after the start
LATE: Final = 2.0  # a backup older than so many times `every` is missed


class Schedule:
    """Makes backups of the open `database` from `start` to `stop`, where `backups.every` is not 0."""

    def __init__(self, database: Database, vault: Vault, backups: Backups, data_dir: Path) -> None:
        self.folder = Path(backups.to) if backups.to else data_dir / FOLDER
        self._database = database
        self._vault = vault
        self._every = max(backups.every, SHORTEST) if backups.every > 0 else 0.0
        self._keep = backups.keep
        self._task: asyncio.Task[None] | None = None
        self._lock = -1
        self._failures = 0
        self._failed = ""
        self._began = 0.0

    def start(self) -> None:
        """Begin; the first backup is made after some seconds when one is due, so that a start is not slowed down."""
        self._began = time.time()
        if self._every > 0 and self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; a backup that is being made is given up. May be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def problem(self) -> str:
        """A sentence when backups fail or are missing, also where another process makes them; else ""."""
        if self._every <= 0 or self._failed:
            return self._failed
        kept = self.kept()
        since = time.time() - max(when(kept[-1]) if kept else 0.0, self._began)
        if since > LATE * self._every + LOOK:
            return f"no backup has been made for {since:.0f} s, though one is due each {self._every:g} s"
        return ""

    def kept(self) -> list[Path]:
        """The backups that there are, oldest first."""
        try:
            return sorted(path for path in self.folder.iterdir() if NAME.fullmatch(path.name))
        except OSError:
            return []

    async def turn(self) -> float:
        """Make a backup if it is this process's to make, and due; the seconds until the next look."""
        try:
            wait = await asyncio.to_thread(self._wait)
            if wait > 0:
                return wait
            await self._make()
        except (PorticoError, OSError) as error:
            self._failures += 1
            said = str(error) if isinstance(error, PorticoError) else f"{self.folder}: {error.strerror}"
            self._failed = f"the last backup failed: {said}"
            logs.get("portico.storage").error("backup failed", cause=said, kept=len(self.kept()))
            return min(self._every, LOOK * 2.0 ** min(self._failures, 10), LONGEST_RETRY)
        self._failures, self._failed = 0, ""
        return min(self._every, LOOK)

    async def _run(self) -> None:
        await asyncio.sleep(min(self._every, FIRST))
        while True:
            try:
                wait = await self.turn()
            except Exception as error:  # a mistake of our own must not end the backups
                self._failed = f"the last backup failed: {type(error).__name__}"
                logs.get("portico.storage").error("backup failed", exc_info=error)
                wait = LOOK
            await asyncio.sleep(wait)

    async def _make(self) -> None:
        from portico.storage.backup.make import make

        file = self.folder / f"portico-{datetime.now(UTC).strftime(TIME)}.backup"
        made = await make(self._database, self._vault, file)
        gone = self.kept()[: -self._keep]
        for path in gone:
            path.unlink(missing_ok=True)
        logs.get("portico.storage").info("backup made", file=str(file), bytes=made.size, removed=len(gone))

    def _wait(self) -> float:
        """Seconds until a backup is due; 0: now, and it is this process that makes it."""
        if self._lock < 0 and not self._take():
            return min(self._every, LOOK)
        kept = self.kept()
        # One that claims to be of the future was made by a clock that was wrong.
        age = time.time() - when(kept[-1]) if kept else self._every
        return min(self._every - age, LOOK) if 0 <= age < self._every else 0.0

    def _take(self) -> bool:
        """Become the process that makes the backups, unless another one is; what a killed one left is removed."""
        from portico.storage.backup.make import SCRATCH

        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._lock = file
        for path in self.folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(path, ignore_errors=True)
        return True


def when(path: Path) -> float:
    """When the backup of that name was made, in seconds since 1970; 0 when the name does not tell."""
    found = NAME.fullmatch(path.name)
    try:
        return datetime.strptime(found[1], TIME).replace(tzinfo=UTC).timestamp() if found else 0.0
    except ValueError:
        return 0.0
