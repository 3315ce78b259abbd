"""The backup file: what was written comes back, and nothing else passes for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portico.errors import BackupError
from portico.storage.backup import container
from portico.storage.backup.container import Header

KEY = bytes(range(32))
BODY = bytes(range(256)) * 3


def written(folder: Path) -> Path:
    body = folder / "body"
    body.write_bytes(BODY)
    header = Header("sqlite", "2026-01-02T03:04:05Z", "0.1", "0001", {"keys": 3}, '{"version": 1}\n')
    container.write(folder / "file", header, KEY, body)
    body.unlink()
    return folder / "file"


def taken(file: Path, key: bytes = KEY) -> tuple[Header, bytes]:
    """What `file` holds, once it is proven."""
    opened = container.read(file)
    container.prove(file, opened, key)
    target = file.with_name("out")
    target.unlink(missing_ok=True)
    container.extract(file, opened, target)
    assert target.stat().st_mode & 0o777 == 0o600
    return opened.header, target.read_bytes()


def test_comes_back(tmp_path: Path) -> None:
    file = written(tmp_path)
    header, body = taken(file)
    assert body == BODY
    assert (header.kind, header.rows, header.vault, header.size) == ("sqlite", {"keys": 3}, '{"version": 1}\n', 768)
    assert file.stat().st_mode & 0o777 == 0o600


def test_every_flipped_byte(tmp_path: Path) -> None:
    file = written(tmp_path)
    right = file.read_bytes()
    for index in range(len(right)):
        file.write_bytes(right[:index] + bytes((right[index] ^ 1 << index % 8,)) + right[index + 1 :])
        with pytest.raises(BackupError):
            taken(file)


def test_every_cut_and_what_was_added(tmp_path: Path) -> None:
    file = written(tmp_path)
    right = file.read_bytes()
    for size in range(0, len(right), 7):
        file.write_bytes(right[:size])
        with pytest.raises(BackupError):
            taken(file)
    file.write_bytes(right + b"\0")
    with pytest.raises(BackupError, match="damaged"):
        taken(file)


def test_another_key(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="damaged or was altered"):
        taken(written(tmp_path), os.urandom(32))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "not a backup"),
        (b"PK\x03\x04" * 100, "not a backup"),
        (b"PORTICO\x02" + bytes(100), "newer Portico"),
        (b"PORTICO\x01" + b"\xff\xff\xff\xff" + bytes(100), "damaged"),
        (b"PORTICO\x01" + b"\0\0\0\x02{}" + bytes(32), "damaged"),
        (b"PORTICO\x01" + b"\0\0\0\x02[]" + bytes(32), "damaged"),
    ],
)
def test_what_is_no_backup(tmp_path: Path, text: bytes, sentence: str) -> None:
    (tmp_path / "file").write_bytes(text)
    with pytest.raises(BackupError, match=sentence):
        container.read(tmp_path / "file")


def test_a_folder_and_nothing(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BackupError, match="can't be read"):
            container.read(file)


def test_never_over_another_file(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(FileExistsError):
        written(tmp_path)
