"""How the spool's files are written: segments of sealed records.

A segment is a file `WRITER-NNNNNNNN.spool`; a writer is one edge worker's life, named by a UUID. It begins with a head:

    magic 16 | writer 16 | key id 8 | number of the segment 8 (big-endian)

and goes on with records, each

    mark 4 | length of the sealed text 4 | sequence 8 | nonce 12 | sealed text (AES-256-GCM, with its tag of 16)

The sequence counts a writer's records from 1, over all its segments. Writer and sequence are bound to the sealed text
(its additional data), so that a record that is altered, or moved under another number or writer, does not open; one
that is missing leaves a gap in the numbers. The plain text is JSON: {"kind": …, "at": epoch seconds, "rows": […]}.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

MAGIC: Final = b"PORTICO SPOOL 1\n"
HEAD: Final = struct.Struct(">16s16s8sQ")
MARK: Final = b"\xf5PR1"
RECORD: Final = struct.Struct(">4sIQ12s")
NONCE: Final = 12
TAG: Final = 16
LONGEST: Final = 4 * 1024 * 1024  # bytes of a sealed text; a longer one is damage
SUFFIX: Final = ".spool"
BOUND: Final = b"portico spool 1"


@dataclass(frozen=True, slots=True)
class SpoolKey:
    """The key that seals the records: 32 bytes, of the vault's label "spool". `id` tells it from others."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """16 hexadecimal digits, which tell nothing about the key."""
        return sha256(BOUND + self.secret).hexdigest()[:16]


class Sealer:
    """Seals and opens the records of one writer."""

    def __init__(self, key: SpoolKey, writer: UUID) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 20 ms that no start should wait for

        self._cipher = AESGCM(key.secret)
        self._bound = BOUND + writer.bytes

    def seal(self, sequence: int, kind: str, at: float, rows: list[Any]) -> bytes:
        """A whole record."""
        text = json.dumps({"kind": kind, "at": at, "rows": rows}, separators=(",", ":")).encode()
        nonce = os.urandom(NONCE)
        sealed = self._cipher.encrypt(nonce, text, self._bound + sequence.to_bytes(8, "big"))
        return RECORD.pack(MARK, len(sealed), sequence, nonce) + sealed

    def open(self, sequence: int, nonce: bytes, sealed: bytes) -> dict[str, Any] | None:
        """The plain text; None when it was altered, belongs elsewhere, or was sealed with another key."""
        from cryptography.exceptions import InvalidTag

        try:
            text = self._cipher.decrypt(nonce, sealed, self._bound + sequence.to_bytes(8, "big"))
        except InvalidTag:
            return None
        found: dict[str, Any] = json.loads(text)
        return found


def head(writer: UUID, key: SpoolKey, number: int) -> bytes:
    """What a segment begins with."""
    return HEAD.pack(MAGIC, writer.bytes, bytes.fromhex(key.id), number)


def name(writer: UUID, number: int) -> str:
    """The name of a segment's file."""
    return f"{writer}-{number:08d}{SUFFIX}"
