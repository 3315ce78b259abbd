"""Where the edge workers of one gateway see how many connections each of them holds.

A new connection wakes every worker, and the quickest takes it: left to themselves, four workers share 64 connections
58/5/1/0. So a worker that holds more than another lets the others go first for a moment.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final

CELL: Final = 4  # bytes: one unsigned count for each worker
NAME: Final = "workers"


class Board:
    """One worker's view of a small file that all of them map."""

    def __init__(self, directory: str, index: int, workers: int) -> None:
        self.index = index
        self.workers = workers
        self.path = os.path.join(directory, NAME)
        self.counts: mmap.mmap | None = None

    def open(self) -> None:
        """Map the file, made if need be, and count this worker as new."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = max(os.fstat(file).st_size, self.workers * CELL)
            os.ftruncate(file, size)
            self.counts = mmap.mmap(file, size)
        finally:
            os.close(file)
        self.publish(0)

    def publish(self, connections: int) -> None:
        """Tell the others how many connections this worker holds."""
        if self.counts is not None:
            struct.pack_into("=I", self.counts, self.index * CELL, connections)

    def ahead(self, connections: int) -> bool:
        """Whether this worker, with so many connections, holds more than another one."""
        if self.counts is None:
            return False
        held = struct.unpack_from(f"={self.workers}I", self.counts)
        return any(connections > other for index, other in enumerate(held) if index != self.index)
