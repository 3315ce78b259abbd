"""Batches of rows: whatever a column holds comes back, in order, whole, and from this backup alone."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime

import pytest

from portico.errors import BackupError
from portico.storage.backup import rows
from portico.storage.backup.rows import Batch

KEY = bytes(range(32))
KINDS = {"id": "plain", "at": "time", "raw": "bytes", "more": "json"}
BATCHES = [
    Batch(
        "a",
        KINDS,
        [["x", datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), b"\0\xff", {"$b": [1, None]}], [1, None, None, []]],
    ),
    Batch("b", {"id": "plain"}, [["\u2028 é \x01"]]),
    Batch("b", {"id": "plain"}, []),
]


def stream(batches: list[Batch], key: bytes = KEY) -> bytes:
    out = io.BytesIO()
    for number, batch in enumerate([*batches, None]):
        rows.write(out, number, batch, key)
    return out.getvalue()


def test_comes_back() -> None:
    assert list(rows.read(io.BytesIO(stream(BATCHES)), KEY)) == BATCHES
    assert list(rows.read(io.BytesIO(stream([])), KEY)) == []


def test_nothing_can_be_read_without_the_key() -> None:
    text = stream(BATCHES)
    assert b"id" not in text
    with pytest.raises(BackupError):
        list(rows.read(io.BytesIO(text), os.urandom(32)))


def test_every_flipped_byte() -> None:
    right = stream(BATCHES)
    for index in range(len(right)):
        altered = right[:index] + bytes((right[index] ^ 1,)) + right[index + 1 :]
        with pytest.raises(BackupError):
            list(rows.read(io.BytesIO(altered), KEY))


def test_every_cut() -> None:
    right = stream(BATCHES)
    for size in range(len(right)):
        with pytest.raises(BackupError):
            list(rows.read(io.BytesIO(right[:size]), KEY))


def test_batches_that_are_missing_or_moved() -> None:
    parts = []
    for number, batch in enumerate([*BATCHES, None]):
        out = io.BytesIO()
        rows.write(out, number, batch, KEY)
        parts.append(out.getvalue())
    a, b, c, end = parts
    for order in ([b, c, end], [a, c, end], [a, b, end], [b, a, c, end], [a, a, b, c, end], [a, b, c], [end]):
        with pytest.raises(BackupError):
            list(rows.read(io.BytesIO(b"".join(order)), KEY))
