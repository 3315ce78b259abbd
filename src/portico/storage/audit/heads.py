"""Heads of chains kept outside the database: `audit/heads.jsonl` in the data directory, lines that are only appended.

Whoever puts the database back to an earlier state, however consistently, contradicts a head that was published since.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from portico.errors import AuditError
from portico.storage.audit.chain import Head

FILE: Final = "audit/heads.jsonl"
LARGEST: Final = 16 * 1024 * 1024  # bytes; then only the newest head of each chain is kept


def publish(data_dir: Path, head: Head) -> None:
    """Append a head, and sync it. Blocks. OSError when it can't be written."""
    path = data_dir / FILE
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with _locked(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > LARGEST:
            _shorten(path, head)
            return
        # A line that a crash has torn is ended before the next.
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" * torn + dump(head).encode() + b"\n")
        os.fdatasync(descriptor)


def dump(head: Head) -> str:
    """One line of JSON."""
    return json.dumps(asdict(head), separators=(",", ":"))


def read(path: Path) -> list[Head]:
    """The heads of a file. AuditError for a line that is none, but for one at the end that a crash has torn."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"{path} can't be read: {getattr(error, 'strerror', None) or 'it is not text'}") from None
    found = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            head = Head(**json.loads(line))
            if not isinstance(head.sequence, int) or not isinstance(head.writer, str):
                raise TypeError
        except (TypeError, ValueError):
            if _is_torn(line):
                continue
            raise AuditError(f"line {number} of {path} is no head of a chain") from None
        found.append(head)
    return found


def of(data_dir: Path) -> list[Head]:
    """The heads that were published in a data directory."""
    path = data_dir / FILE
    return read(path) if path.exists() else []


def _is_torn(line: str) -> bool:
    return line.startswith("{") and not line.endswith("}")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_ino == _inode(path):  # else another process has just shortened the file
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _shorten(path: Path, head: Head) -> None:
    """Write the file anew, with the newest head of each chain, and `head`."""
    newest: dict[str, Head] = {}
    for each in (*read(path), head):
        known = newest.get(each.writer)
        if known is None or each.sequence >= known.sequence:
            newest[each.writer] = each
    shorter = path.with_name(path.name + ".new")
    descriptor = os.open(shorter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.writelines(dump(each) + "\n" for each in newest.values())
        stream.flush()
        os.fsync(stream.fileno())
    shorter.replace(path)
