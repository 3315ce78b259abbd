"""The writing end of the spool: one writer's segments."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from portico.telemetry.spool.format import Sealer, SpoolKey, head, name

SEGMENT: Final = 8 * 1024 * 1024  # bytes after which the next segment begins
NEW: Final = ".new"  # instead of the suffix, while a segment has no head yet
FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class SegmentWriter:
    """Appends records. The lock (flock) on the segment that it writes tells others that it lives. Blocks.

    `append` raises OSError and then has written nothing: the caller keeps what it has, and tries again.
    """

    def __init__(self, folder: Path, key: SpoolKey, longest: int = SEGMENT) -> None:
        self.folder = folder
        self.writer = uuid4()
        self.sequence = 0
        self._key = key
        self._sealer = Sealer(key, self.writer)
        self._longest = longest
        self._number = 0
        self._file = -1
        self._size = 0
        self._unsynced = False

    def append(self, kind: str, at: float, rows: list[Any]) -> int:
        """Write one record; its size in bytes."""
        record = self._sealer.seal(self.sequence + 1, kind, at, rows)
        if self._file < 0 or self._size + len(record) > self._longest:
            self._next()
        self._write(record)
        self.sequence += 1
        return len(record)

    def sync(self) -> None:
        """See to it that all of it outlives the machine's sudden end."""
        if self._unsynced and self._file >= 0:
            self._unsynced = False
            os.fdatasync(self._file)

    def close(self) -> None:
        """Write no more."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _write(self, record: bytes) -> None:
        try:
            written = os.write(self._file, record)
            while written < len(record):
                written += os.write(self._file, record[written:])
        except OSError:
            self._undo()
            raise
        self._size += len(record)
        self._unsynced = True

    def _undo(self) -> None:
        """Take back the part of a record that found room; where not even that can be done, begin another segment."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self.close()

    def _next(self) -> None:
        """Begin a segment. It has its lock and its head before it has its name, so that no reader takes it for dead."""
        if self._file >= 0:
            self.sync()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self.folder / name(self.writer, self._number + 1)
        new = path.with_suffix(NEW)
        new.unlink(missing_ok=True)
        file = os.open(new, FLAGS, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            start = head(self.writer, self._key, self._number + 1)
            if os.write(file, start) < len(start):
                raise OSError(28, os.strerror(28))
            new.rename(path)
        except OSError:
            os.close(file)
            new.unlink(missing_ok=True)
            raise
        sync_folder(self.folder)
        self.close()
        self._file, self._size, self._number = file, len(start), self._number + 1


def sync_folder(folder: Path) -> None:
    """Make it last which files the folder has."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
