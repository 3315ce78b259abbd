"""The reading end of the spool: which segments there are, and what is whole and genuine in them."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from portico.telemetry.spool.format import HEAD, LONGEST, MAGIC, MARK, RECORD, SUFFIX, TAG, Sealer, SpoolKey

MOST: Final = 2000  # rows that one reading answers, about


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of one writer."""

    writer: UUID
    number: int
    path: Path


@dataclass(frozen=True, slots=True)
class Record:
    """One record, genuine."""

    sequence: int
    kind: str
    at: float
    rows: list[Any]


@dataclass(slots=True)
class Progress:
    """How far a segment has been read: the offset, and the writer's last record before it (0: none was read).

    `taken` is the last one that was taken in for good, maybe by another process and out of segments that are gone.
    """

    offset: int = 0
    last: int = 0
    taken: int = 0


@dataclass(slots=True)
class Batch:
    """What one reading found: records in order, what is wrong in sentences, and how far that is."""

    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refused: int = 0  # records that were there and are not taken
    missing: int = 0  # records that are not there
    progress: Progress = field(default_factory=Progress)
    all: bool = False  # nothing is left of what is there now


def segments(folder: Path) -> dict[UUID, list[Segment]]:
    """All of the folder, by writer, each writer's in order."""
    found: dict[UUID, list[Segment]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        writer, _, number = path.name.removesuffix(SUFFIX).rpartition("-")
        try:
            segment = Segment(UUID(writer), int(number), path)
        except ValueError:
            continue  # a file of somebody else
        found.setdefault(segment.writer, []).append(segment)
    return found


def lives(segment: Segment) -> bool:
    """Whether somebody still writes to the segment: who writes holds its lock."""
    try:
        file = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def key_id(segment: Segment) -> str | None:
    """Which key the segment was written with; None when it has no head of ours."""
    with segment.path.open("rb") as file:
        start = file.read(HEAD.size)
    if len(start) < HEAD.size:
        return None
    magic, writer, key, number = HEAD.unpack(start)
    genuine = magic == MAGIC and writer == segment.writer.bytes and number == segment.number
    return bytes(key).hex() if genuine else None


def read(segment: Segment, key: SpoolKey, progress: Progress, *, ended: bool, most: int = MOST) -> Batch:
    """The records from `progress` on. `ended`: nobody writes to the segment any more. Blocks.

    At the end of a segment that is still written to, half a record is waited for. In one that has ended it is the last
    thing that its writer did, and nothing of it was promised to anyone.
    """
    with segment.path.open("rb") as file:
        file.seek(max(progress.offset, HEAD.size))
        data = file.read()
    scan = Scan(data, Sealer(key, segment.writer), replace(progress), ended)
    batch = scan.run(most)
    batch.progress.offset = max(progress.offset, HEAD.size) + scan.at
    return batch


class Scan:
    """One pass over the bytes of a segment."""

    def __init__(self, data: bytes, sealer: Sealer, progress: Progress, ended: bool) -> None:
        self.data = data
        self.sealer = sealer
        self.ended = ended
        self.at = 0
        self.batch = Batch(progress=progress)

    def run(self, most: int) -> Batch:
        """Go on until there are about `most` rows, or nothing more that can be read."""
        rows = 0
        while rows < most and self.at < len(self.data):
            record = self._record(self.at)
            if record is None and not self._skip():
                break
            if record is not None:
                self.at += self._size(self.at)
                if self._in_order(record):
                    self.batch.records.append(record)
                    rows += len(record.rows)
        self.batch.all = rows < most or self.at >= len(self.data)
        return self.batch

    def _size(self, at: int) -> int:
        return RECORD.size + int(RECORD.unpack_from(self.data, at)[1])

    def _record(self, at: int) -> Record | None:
        """The genuine record at `at`; None when there is none, or not all of it."""
        if at + RECORD.size > len(self.data):
            return None
        mark, length, sequence, nonce = RECORD.unpack_from(self.data, at)
        begin = at + RECORD.size
        if mark != MARK or not TAG <= length <= LONGEST or begin + length > len(self.data):
            return None
        text = self.sealer.open(sequence, nonce, self.data[begin : begin + length])
        return None if text is None else Record(sequence, text["kind"], text["at"], text["rows"])

    def _skip(self) -> bool:
        """Go on at the next genuine record after what can't be read; False: there is none (yet)."""
        at = self.data.find(MARK, self.at + 1)
        while at >= 0 and self._record(at) is None:
            at = self.data.find(MARK, at + 1)
        if at < 0:
            if self.ended:
                self._end()
            return False
        self._damaged(at - self.at)
        self.at = at
        return True

    def _end(self) -> None:
        """What is left of a segment that has ended: half a record is what a killed writer leaves; else it is damage."""
        left = len(self.data) - self.at
        whole = left >= RECORD.size and self._size(self.at) <= left
        if whole or not self.data[self.at : self.at + len(MARK)].startswith(MARK[: min(left, len(MARK))]):
            self._damaged(left)
        self.at = len(self.data)

    def _damaged(self, size: int) -> None:
        self.batch.problems.append(f"{size} bytes after record {self.batch.progress.last} were altered")
        self.batch.refused += 1

    def _in_order(self, record: Record) -> bool:
        progress = self.batch.progress
        last = progress.last or min(progress.taken, record.sequence - 1)
        if record.sequence <= last:
            self.batch.problems.append(f"record {record.sequence} stands after record {last}")
            self.batch.refused += 1
            return False
        if record.sequence > last + 1:
            first, upto = last + 1, record.sequence - 1
            self.batch.missing += record.sequence - last - 1
            named = f"record {first} is" if first == upto else f"records {first} to {upto} are"
            self.batch.problems.append(f"{named} missing")
        progress.last = record.sequence
        return True
