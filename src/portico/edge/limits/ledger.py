"""Quotas that survive a restart without a shared store: a journal of what was counted, in the data directory.

Each record says by how much one caller's count of one UTC day has grown. Records are appended once a second and at a
stop, so a process that is killed loses at most its last second. Several processes may append to one journal: at a
restart the new one starts before the old one has ended, and takes in what that one still counts.

A record has 32 bytes: 16 of the SHA-256 of limit and caller (no name and no credential is on disk), then writer, day,
growth and CRC-32, each of four bytes. A record that is torn or altered is passed over. A journal that has grown long is
written anew when nobody else has it open.
"""

from __future__ import annotations

import fcntl
import os
import struct
from hashlib import sha256
from typing import Final
from zlib import crc32

from portico.edge.policies.store import Bucket
from portico.telemetry import logs

NAME: Final = "quotas.journal"
RECORD: Final = struct.Struct("<16sIIiI")
DAY: Final = 86_400
LONG: Final = 4 * 1024 * 1024  # bytes from which a journal may be written anew
WASTE: Final = 4  # times as long as it would be when written anew
FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
READ: Final = 32 * 1024 * 32  # bytes at a time, whole records


class Ledger:
    """The journal as one process sees it. Nothing is kept until `open` has been called."""

    def __init__(self, directory: str, owner: str = "") -> None:
        self.path = os.path.join(directory, NAME)
        self.owner = owner.encode()  # tells workers apart that count for themselves
        self.writer = 0
        self.file = -1
        self.offset = 0  # up to which the journal has been read
        self.day = 0
        self.known: dict[bytes, int] = {}  # of today, and in no bucket yet
        self.changed: list[tuple[str, object, Bucket]] = []
        self.callers = 0  # a guess at how many records a journal without waste would have
        self.failed = False

    def open(self, wall: float) -> None:
        """Read what is there; a directory that can't be written to is told in the log, and nothing is kept."""
        self.day = int(wall) // DAY
        self.writer = int.from_bytes(os.urandom(4), "little")
        try:
            self.file = self._opened()
            self._read()
            self._shorten()
        except OSError as error:
            self._trouble(error)

    def count(self, limit: str, caller: object, day: int) -> int:
        """What the journal knows of a caller whose bucket is new."""
        return self.known.pop(self._digest(limit, caller), 0) if day == self.day and self.known else 0

    def look(self, limit: str, caller: object, day: int) -> int:
        """The same, when it is only looked at."""
        return self.known.get(self._digest(limit, caller), 0) if day == self.day and self.known else 0

    def note(self, limit: str, caller: object, bucket: Bucket) -> None:
        """A count has changed; it is written with the next `flush`."""
        bucket.listed = True
        self.changed.append((limit, caller, bucket))

    def flush(self, wall: float) -> None:
        """Take in what others have written, then write what has changed."""
        if int(wall) // DAY > self.day:
            self.day = int(wall) // DAY
            self.known.clear()
            self.callers = 0
        changed, self.changed = self.changed, []
        try:
            if self.file >= 0:
                self._read()
        except OSError as error:
            self._trouble(error)
        records = [self._record(*each) for each in changed]
        if self.file >= 0 and records:
            self._append(b"".join(records))

    def close(self, wall: float) -> None:
        """Write what is left; may be called twice."""
        self.flush(wall)
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def _record(self, limit: str, caller: object, bucket: Bucket) -> bytes:
        bucket.listed = False
        digest = self._digest(limit, caller)
        day = bucket.until - 1
        growth = bucket.count - bucket.saved
        bucket.saved = bucket.count
        if day == self.day and self.known:
            bucket.count += (others := self.known.pop(digest, 0))
            bucket.saved += others
        if not growth:
            return b""
        self.callers += 1
        return _packed(digest, self.writer, day, growth)

    def _append(self, data: bytes) -> None:
        try:
            written = os.write(self.file, data)
            if written < len(data):  # a full disk: what was torn is passed over, and its length is kept whole
                os.write(self.file, b"\0" * (-written % RECORD.size))
            self.failed = False
            self._shorten()
        except OSError as error:
            self._trouble(error)

    def _digest(self, limit: str, caller: object) -> bytes:
        kind, text = (b"b", caller) if isinstance(caller, bytes) else (b"s", str(caller).encode())
        return sha256(b"\0".join([self.owner, limit.encode(), kind, text])).digest()[:16]

    # -- the file

    def _opened(self) -> int:
        """The journal, locked as one that others may use too."""
        with _Door(self.path, wait=True):
            file = os.open(self.path, FLAGS, 0o600)
            fcntl.flock(file, fcntl.LOCK_SH)
        return file

    def _read(self) -> None:
        """Add up what has been written since the last time, by others than this process."""
        end = os.fstat(self.file).st_size
        end -= end % RECORD.size
        if end < self.offset:
            self.offset = 0  # somebody has cut it
        while self.offset < end:
            data = os.pread(self.file, min(READ, end - self.offset), self.offset)
            data = data[: len(data) - len(data) % RECORD.size]
            if not data:
                return
            self.offset += len(data)
            for at in range(0, len(data), RECORD.size):
                digest, writer, day, growth, check = RECORD.unpack_from(data, at)
                if writer != self.writer and day == self.day and crc32(data[at : at + RECORD.size - 4]) == check:
                    self.known[digest] = self.known.get(digest, 0) + growth

    def _shorten(self) -> None:
        """Write the journal anew if it is long, mostly waste, and nobody else has it open."""
        size = os.fstat(self.file).st_size
        if size < LONG or size < WASTE * (self.callers + len(self.known)) * RECORD.size:
            return
        with _Door(self.path, wait=False) as door:
            if not door.is_ours:
                return
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(self.file, fcntl.LOCK_SH)  # which the attempt has cost
                return
            self._write_anew(self._sums())

    def _write_anew(self, sums: dict[tuple[bytes, int], int]) -> None:
        path = self.path + ".new"
        file = os.open(path, FLAGS | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            for (digest, writer), growth in sums.items():
                _write_all(file, _packed(digest, writer, self.day, growth))
            os.fsync(file)
            os.rename(path, self.path)
        except OSError:
            os.close(file)
            fcntl.flock(self.file, fcntl.LOCK_SH)
            raise
        os.close(self.file)
        self.file = file
        self.callers = len(sums)
        self.offset = os.fstat(file).st_size

    def _sums(self) -> dict[tuple[bytes, int], int]:
        """Today's growth by caller, what this process wrote apart from what others did."""
        sums: dict[tuple[bytes, int], int] = {}
        at = 0
        while data := os.pread(self.file, READ, at):
            at += len(data)
            for index in range(0, len(data) - RECORD.size + 1, RECORD.size):
                digest, writer, day, growth, check = RECORD.unpack_from(data, index)
                if day == self.day and crc32(data[index : index + RECORD.size - 4]) == check:
                    key = digest, self.writer if writer == self.writer else 0
                    sums[key] = sums.get(key, 0) + growth
        return sums

    def _trouble(self, error: OSError) -> None:
        if not self.failed:
            self.failed = True
            log = logs.get("portico.limits")
            log.error("quotas can't be written; a restart forgets what is not", cause=error.strerror or str(error))


class _Door:
    """Held while the journal is opened or written anew, so that only one process does either."""

    def __init__(self, path: str, wait: bool) -> None:
        self.path = path + ".lock"
        self.wait = wait
        self.is_ours = False
        self._file = -1

    def __enter__(self) -> _Door:
        self._file = os.open(self.path, FLAGS, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if self.wait else fcntl.LOCK_NB))
            self.is_ours = True
        except BlockingIOError:
            pass
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _packed(digest: bytes, writer: int, day: int, growth: int) -> bytes:
    body = RECORD.pack(digest, writer, day, growth, 0)[:-4]
    return body + struct.pack("<I", crc32(body))


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
