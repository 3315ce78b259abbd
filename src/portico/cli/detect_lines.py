"""Judges a file of texts line by line, and goes on where an earlier run was stopped, in whatever way it was."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

from portico.cli.detect_judges import Judge, Unfit
from portico.errors import CommandError

LINE: Final = 1024 * 1024  # bytes; a text of 10,000 characters has at most 120,000, escapes included
EVERY: Final = 0.2  # seconds between two writes

Step = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the input: its number from 1, where it begins and how long it is in bytes, and its text.

    `raw` has no more than `LINE` bytes.
    """

    number: int
    offset: int
    size: int
    raw: bytes

    @property
    def digest(self) -> str:
        """By which a later run knows that the line is still the same."""
        return sha256(self.raw).hexdigest()[:16]


@dataclass
class Tally:
    """What a run came to. `skipped` were judged or set aside by earlier runs."""

    judged: int = 0
    malicious: int = 0
    rejected: int = 0
    skipped: int = 0


def lines(source: BinaryIO) -> Iterator[Line]:
    """The lines of a file that are not blank."""
    number = offset = 0
    while raw := source.readline(LINE + 1):
        number += 1
        size = len(raw)
        rest = raw
        while len(rest) == LINE + 1 and not rest.endswith(b"\n"):
            rest = source.readline(LINE + 1)
            size += len(rest)
        if raw.strip():
            yield Line(number, offset, size, raw[:LINE])
        offset += size


def rejects(out: Path) -> Path:
    """Where the lines go that can't be judged: verdicts.jsonl → verdicts.rejected.jsonl."""
    return out.with_name(f"{out.stem}.rejected{out.suffix}")


class Records:
    """A file of records, each of which names the line that it is about; in the order of the input."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[bytes] = []
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise CommandError(f"can't write {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise CommandError(f"{path} is being written by another run") from None
        self._cut()

    def earlier(self) -> Iterator[dict[str, Any]]:
        """The records of earlier runs, also while new ones are added."""
        with self.path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size
            for number, raw in enumerate(file, 1):
                left -= len(raw)
                if left < 0:  # this run's own
                    return
                yield self._record(number, raw)

    def _record(self, number: int, raw: bytes) -> dict[str, Any]:
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("line"), int) or "digest" not in record:
            raise CommandError(f"{self.path}:{number} is no record of `portico detect`")
        return record

    def add(self, record: dict[str, Any]) -> None:
        """Add a record; it is written with the next `write`."""
        self._waiting.append(json.dumps(record).encode() + b"\n")

    def write(self) -> None:
        """Give what was added to the file."""
        if self._waiting:
            self._file.write(b"".join(self._waiting))
            self._file.flush()
            self._waiting.clear()

    def close(self) -> None:
        """Write, so that a loss of power takes nothing, and close. A file without records is removed."""
        with self._file:
            self.write()
            os.fsync(self._file.fileno())
            if not self._file.seek(0, os.SEEK_END):
                self.path.unlink()

    def _cut(self) -> None:
        """Take away a last record of which only a part was written."""
        size = self._file.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - LINE)
            self._file.seek(start)
            found = self._file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            self._file.truncate(end)


class Run:
    """One run over `source`: verdicts go to `out`, and lines that can't be judged beside it.

    Rejects are written first. So whatever ends a run, a line is in one of the files or comes again.
    """

    def __init__(self, judge: Judge, threshold: float, out: Path) -> None:
        self.tally = Tally()
        self._judge = judge
        self._threshold = threshold
        with contextlib.ExitStack() as stack:
            self._verdicts = Records(out)
            stack.callback(self._verdicts.close)
            self._rejects = Records(rejects(out))
            stack.pop_all()

    def run(self, source: BinaryIO, step: Step) -> None:
        """Judge what earlier runs have not. `step` is told the bytes that are done."""
        written = time.monotonic()
        try:
            for line in self._skip(lines(source), step):
                record = judged(self._judge, line, self._threshold)
                self._keep(record)
                if time.monotonic() - written >= EVERY:
                    self._write()
                    written = time.monotonic()
                step(line.offset + line.size)
        finally:
            self._write()
            self._rejects.close()
            self._verdicts.close()

    def _keep(self, record: dict[str, Any]) -> None:
        if "error" in record:
            self._rejects.add(record)
            self.tally.rejected += 1
        else:
            self._verdicts.add(record)
            self.tally.judged += 1
            self.tally.malicious += record["is_malicious"]

    def _write(self) -> None:
        self._rejects.write()
        self._verdicts.write()

    def _skip(self, found: Iterator[Line], step: Step) -> Iterator[Line]:
        """The lines that no earlier run has done; CommandError where these were another file's."""
        verdicts, rejected = self._verdicts.earlier(), self._rejects.earlier()
        verdict, reject = next(verdicts, None), next(rejected, None)
        for line in found:
            if verdict is not None and verdict["line"] == line.number:
                self._same(self._verdicts, verdict, line)
                verdict = next(verdicts, None)
            elif reject is not None and reject["line"] == line.number:
                self._same(self._rejects, reject, line)
                reject = next(rejected, None)
            elif verdict is not None:
                raise CommandError(_another(self._verdicts.path, verdict["line"]))
            else:
                yield line
                continue
            self.tally.skipped += 1
            step(line.offset + line.size)
        for records, left in ((self._verdicts, verdict), (self._rejects, reject)):
            if left is not None:
                raise CommandError(_another(records.path, left["line"]))

    def _same(self, records: Records, record: dict[str, Any], line: Line) -> None:
        if record["digest"] != line.digest:
            raise CommandError(_another(records.path, line.number))
        if record.get("confidence_threshold", self._threshold) != self._threshold:
            wanted = record["confidence_threshold"]
            raise CommandError(f"{records.path} was begun with --threshold {wanted}; name another --out")


def judged(judge: Judge, line: Line, threshold: float) -> dict[str, Any]:
    """The record of a line: a verdict, or with `error` what is wrong and the line itself."""
    about: dict[str, Any] = {"line": line.number, "id": None}
    try:
        about["id"], text = read(line)
        verdict = judge.judge(text)
    except Unfit as error:
        return {**about, "error": str(error), **_kept(line), "digest": line.digest}
    return {**about, **verdict.shown(), "confidence_threshold": threshold, "digest": line.digest}


def read(line: Line) -> tuple[str | int | None, str]:
    """Id and text of a line; Unfit where it has no text."""
    if line.size > LINE:
        raise Unfit(f"the line has {line.size} bytes; at most {LINE} are read")
    try:
        value = json.loads(line.raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Unfit(f"it is not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise Unfit(f"it is not JSON{at}") from None
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise Unfit("it is no object with a text")
    found = value.get("id")
    return (found if isinstance(found, str | int) and not isinstance(found, bool) else None), value["text"]


def _kept(line: Line) -> dict[str, Any]:
    """The line itself, unless it is too long to be copied: then where it stands."""
    if line.size > LINE:
        return {"offset": line.offset, "bytes": line.size}
    try:
        return {"raw": line.raw.decode("utf-8").rstrip("\r\n")}
    except UnicodeDecodeError:
        return {"raw_base64": b64encode(line.raw).decode()}


def _another(path: Path, number: int) -> str:
    return f"{path} does not fit the input from line {number} on: it is another file's, or that was changed"
