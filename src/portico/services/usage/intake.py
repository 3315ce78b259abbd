"""The task that follows the spool: segment after segment, batch after batch, into the database."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from portico.errors import PorticoError
from portico.storage.usage.intake import SpoolIntake
from portico.telemetry import logs
from portico.telemetry.spool import Batch, Progress, Segment, SpoolKey, lives, read, segments
from portico.telemetry.spool.measure import INTAKE
from portico.telemetry.spool.reader import MOST, key_id
from portico.telemetry.spool.writer import NEW, sync_folder

EVERY: Final = 0.5  # seconds between two looks, at least
REST: Final = 20  # times as long as a look took, to the next: what is the same minute then costs once, not every time
SELDOM: Final = 10.0  # seconds between two looks, at most
PUT_OFF: Final = 2.0  # seconds after a look that failed
LAST_LOOK: Final = 5.0  # seconds for what is left when the process stops
UNREADABLE: Final = ".unreadable"  # is put behind the name of a segment of which no key is known


class Intake:
    """Of several processes one takes in; another follows when it ends, however it ends."""

    def __init__(self, folder: Path, taking: SpoolIntake, most: int = MOST) -> None:
        self.folder = folder
        self.taking = taking
        self.most = most  # rows that one transaction takes, about
        self.missing = 0
        self.refused = 0
        self._keys: dict[str, SpoolKey] = {}
        self._progress: dict[Path, Progress] = {}
        self._lock = -1
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get("portico.usage")

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Take in what is there, for some seconds at most, and end. What is left is taken in after the next start."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if self._lock >= 0:
            with suppress(PorticoError, OSError, TimeoutError):
                async with asyncio.timeout(LAST_LOOK):
                    await self.look()
            os.close(self._lock)
            self._lock = -1

    async def _run(self) -> None:
        failed = ""
        while True:
            began = time.monotonic()
            try:
                if self._lock >= 0 or self._mine():
                    await self.look()
                failed = ""
            except (PorticoError, OSError) as error:
                if str(error) != failed:
                    failed = str(error)
                    self._log.warning("what the edge has counted waits in the spool", cause=failed)
            except Exception as error:  # it must not end: what the edge counts would pile up
                if repr(error) != failed:
                    failed = repr(error)
                    self._log.error("what the edge has counted waits in the spool", exc_info=error)
            rest = min(max(EVERY, REST * (time.monotonic() - began)), SELDOM)
            await asyncio.sleep(PUT_OFF if failed else rest)

    def _mine(self) -> bool:
        """Whether this process is the one that takes in, from now on."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(self.folder / INTAKE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._lock = file
        self._progress.clear()
        for path in self.folder.glob(f"*{NEW}"):  # of writers that were killed as they began one
            path.unlink(missing_ok=True)
        with suppress(ValueError, AttributeError):
            counts = json.loads(os.pread(file, 1000, 0) or b"{}")
            self.refused, self.missing = int(counts.get("refused", 0)), int(counts.get("missing", 0))
        return True

    async def look(self) -> None:
        """Take in all that is there."""
        if not self._keys:
            self._keys = await self.taking.keys()
        found = await asyncio.to_thread(segments, self.folder)
        for writer, files in found.items():
            last: Progress | None = None
            for index, segment in enumerate(files):
                last = await self._segment(segment, last, index == len(files) - 1)
            if not files[-1].path.exists() and writer not in await asyncio.to_thread(segments, self.folder):
                await self.taking.forget(writer)
        for path in [path for path in self._progress if not path.exists()]:
            del self._progress[path]
        self._touch()

    async def _segment(self, segment: Segment, before: Progress | None, newest: bool) -> Progress | None:
        """Take in one segment, and remove it when nothing more can come into it; how far that is."""
        key = await self._key(segment)
        if key is None:
            return None
        progress = self._progress.get(segment.path)
        if progress is None:
            taken = await self.taking.taken(segment.writer)
            progress = Progress(last=before.last if before is not None else 0, taken=taken)
        ended = not newest or not await asyncio.to_thread(lives, segment)  # before it is read: nothing comes after
        while True:
            batch = await asyncio.to_thread(read, segment, key, progress, ended=ended, most=self.most)
            if batch.records:
                await self.taking.take(segment.writer, batch.records)
            self._note(segment, batch)
            progress = self._progress[segment.path] = batch.progress
            if batch.all:
                break
        if ended:
            await asyncio.to_thread(self._remove, segment.path)
        return progress

    async def _key(self, segment: Segment) -> SpoolKey | None:
        """The segment's key; a segment of which no key is known is put aside."""
        name = await asyncio.to_thread(key_id, segment)
        if name is not None and name not in self._keys:
            self._keys = await self.taking.keys()
        key = self._keys.get(name) if name is not None else None
        if key is None:
            why = "its key is not this database's" if name is not None else "it has no beginning of ours"
            self._log.error("a segment of the spool can't be read and is put aside", file=segment.path.name, cause=why)
            segment.path.rename(segment.path.with_name(segment.path.name + UNREADABLE))
        return key

    def _note(self, segment: Segment, batch: Batch) -> None:
        for problem in batch.problems:
            self._log.error("the spool was altered", file=segment.path.name, found=problem)
        self.missing += batch.missing
        self.refused += batch.refused

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)

    def _touch(self) -> None:
        """Say that all was taken in, and what was not."""
        refused = self.refused + self.taking.refused
        counts = json.dumps({"refused": refused, "missing": self.missing}).encode()
        if os.pread(self._lock, len(counts) + 1, 0) != counts:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, counts, 0)
        os.utime(self._lock)
