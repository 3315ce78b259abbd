"""The access log: lines gathered in memory and written by a thread, so that a slow disk delays no request."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import Final

MAX_WAITING: Final = 8 * 1024 * 1024  # bytes; more than a slow disk gets in this time is dropped and counted
BATCH: Final = 64 * 1024


class AccessLog:
    """One worker's end of the access log. `dropped` counts lines that were not written."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: list[bytes] = []
        self.size = 0
        self.dropped = 0
        self.waiting = 0  # bytes handed to the thread and not yet written
        self.batches: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self.written = 0
        self.lost: list[int] = []
        self.torn = False  # only a part of our last line fitted
        self.thread: threading.Thread | None = None
        self.file = -1

    def start(self) -> None:
        """Open the file and start the writing thread; OSError when it can't be opened."""
        self.file = open_log(self.path)
        self.thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self.thread.start()

    def write(self, line: bytes) -> None:
        """Take one line."""
        self.lines.append(line)
        self.size += len(line)
        if self.size >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the thread; called several times a second."""
        while self.lost:
            self.dropped += self.lost.pop()
        if not self.lines:
            return
        if self.waiting - self.written + self.size > MAX_WAITING:
            self.dropped += len(self.lines)
        else:
            self.waiting += self.size
            self.batches.put((b"".join(self.lines), len(self.lines)))
        self.lines = []
        self.size = 0

    def stop(self) -> None:
        """Write what is left; waits for a disk at most two seconds."""
        self.flush()
        self.batches.put(None)
        if self.thread is not None:
            self.thread.join(2.0)
            self.thread = None

    def reopen(self) -> None:
        """Open the file anew (after a rotation)."""
        self.batches.put((b"", 0))

    def _run(self) -> None:
        batch = self.batches.get()
        while batch is not None:
            data, lines = batch
            if data:
                self._put(b"\n" + data if self.torn else data, lines)
            else:
                self._reopen()
            self.written += len(data)
            batch = self.batches.get()
        os.close(self.file)

    def _put(self, data: bytes, lines: int) -> None:
        rest = data
        try:
            while rest:
                rest = rest[os.write(self.file, rest) :]
            self.torn = False
        except OSError:  # a full disk: the lines are lost, and counted
            written = len(data) - len(rest)
            self.lost.append(min(lines, rest.count(b"\n")))
            if written:
                self.torn = data[written - 1 : written] != b"\n"

    def _reopen(self) -> None:
        try:
            file = open_log(self.path)
        except OSError:
            return  # the old file goes on
        os.close(self.file)
        self.file = file
        self.torn = False


def open_log(path: str) -> int:
    """The file's descriptor; several workers append to one file, whole lines at a time."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
