"""A backup file: what it holds, and the proof that it holds all of it.

    8 bytes    magic, "PORTICO" and 1
    4 bytes    length of the header, big-endian
    header     JSON: kind, when, of which schema, rows of each table, vault.json, size and SHA-256 of the body
    32 bytes   HMAC-SHA256 of everything above, under the vault's key "backup"
    body       kind "sqlite": the database file, encrypted as ever. kind "rows": see portico.storage.backup.rows

The vault's secret (passphrase, key file or recovery key) is not in it. Without that, only the header can be read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from portico.errors import BackupError

MAGIC: Final = b"PORTICO\x01"
LENGTH: Final = struct.Struct(">I")
LARGEST_HEADER: Final = 1024 * 1024  # bytes
MAC: Final = 32
CHUNK: Final = 1024 * 1024
SQLITE: Final = "sqlite"
ROWS: Final = "rows"


@dataclass(frozen=True, slots=True)
class Header:
    """What is written in clear at the beginning; `made` RFC 3339, `vault` the text of vault.json, `size` in bytes."""

    kind: str
    made: str
    portico: str
    schema: str
    rows: Mapping[str, int]
    vault: str
    salt: str = ""  # of the body's own key, kind "rows"
    size: int = 0
    sha256: str = ""

    def dump(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Opened:
    """A header that has been read, and where its body begins; `signed` is what `mac` is over. Not yet proven."""

    header: Header
    signed: bytes
    mac: bytes

    @property
    def start(self) -> int:
        return len(self.signed) + MAC


def write(target: Path, header: Header, key: bytes, body: Path) -> None:
    """Join `header` (size and digest are filled in) and the file `body` in a new file 0600, synced. OSError."""
    size, sha256 = _measure(body)
    full = Header(**{**asdict(header), "size": size, "sha256": sha256}).dump()
    if len(full) > LARGEST_HEADER:
        raise BackupError("the backup's header is too large")
    signed = MAGIC + LENGTH.pack(len(full)) + full
    with open(target, "xb", opener=private) as out, open(body, "rb") as inner:
        out.write(signed + hmac.digest(key, signed, "sha256"))
        while chunk := inner.read(CHUNK):
            out.write(chunk)
        out.flush()
        _sync(out)


def read(file: Path) -> Opened:
    """The header of a backup. BackupError, in a sentence, when the file is none, or is of a newer version."""
    try:
        with open(file, "rb") as stream:
            head = stream.read(len(MAGIC) + LENGTH.size)
            if not head.startswith(MAGIC[:-1]) or len(head) < len(MAGIC) + LENGTH.size:
                raise BackupError(f"{file} is not a backup of Portico")
            if head[: len(MAGIC)] != MAGIC:
                raise BackupError(f"{file} was made by a newer Portico: restore it with that one")
            length = LENGTH.unpack(head[len(MAGIC) :])[0]
            rest = stream.read(length + MAC) if length <= LARGEST_HEADER else b""
    except OSError as error:
        raise BackupError(f"{file} can't be read: {error.strerror}") from error
    if not rest or len(rest) != length + MAC:
        raise damaged(file)
    return Opened(_header(file, rest[:length]), head + rest[:length], rest[length:])


def prove(file: Path, opened: Opened, key: bytes) -> None:
    """BackupError unless header and body are, bit for bit, what the vault with this key "backup" wrote."""
    if not hmac.compare_digest(hmac.digest(key, opened.signed, "sha256"), opened.mac):
        raise damaged(file)
    size, digest = 0, hashlib.sha256()

    def take(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)
        digest.update(chunk)

    _each(file, opened.start, take)
    if size != opened.header.size or digest.hexdigest() != opened.header.sha256:
        raise damaged(file)


def extract(file: Path, opened: Opened, target: Path) -> None:
    """Write the body to a new file 0600, synced. OSError when there is no room."""
    with open(target, "xb", opener=private) as out:
        _each(file, opened.start, out.write)
        out.flush()
        _sync(out)


def damaged(file: Path) -> BackupError:
    """The error for a backup that is not what was written."""
    return BackupError(f"{file} is damaged or was altered: use another backup")


def _header(file: Path, text: bytes) -> Header:
    try:
        header = Header(**json.loads(text))
        texts = (header.made, header.portico, header.schema, header.vault, header.salt, header.sha256)
        right = all(isinstance(each, str) for each in texts) and isinstance(header.rows, dict)
        right = right and type(header.size) is int and all(type(each) is int for each in header.rows.values())
        bytes.fromhex(header.salt)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(file) from error
    if not right:
        raise damaged(file)
    if header.kind not in (SQLITE, ROWS):
        raise BackupError(f"{file} holds a kind of backup that this version does not know")
    return header


def _each(file: Path, start: int, take: Callable[[bytes], Any]) -> None:
    with open(file, "rb") as stream:
        stream.seek(start)
        while chunk := stream.read(CHUNK):
            take(chunk)


def _measure(body: Path) -> tuple[int, str]:
    with open(body, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return body.stat().st_size, digest.hexdigest()


def private(path: str, flags: int) -> int:
    """An opener of files that are their owner's alone."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _sync(stream: BinaryIO) -> None:
    os.fsync(stream.fileno())
