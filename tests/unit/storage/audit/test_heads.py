"""The file of heads: only appended, torn lines survived, bounded."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portico.errors import AuditError
from portico.storage.audit import heads
from portico.storage.audit.chain import Head

KEY = bytes(32)


def head(sequence: int, writer: str = "w") -> Head:
    return Head.of(KEY, datetime.now(UTC), writer, sequence, bytes(32), "key")


def test_heads_are_read_as_they_were_published(tmp_path: Path) -> None:
    assert heads.of(tmp_path) == []
    published = [head(number) for number in range(3)]
    for each in published:
        heads.publish(tmp_path, each)
    found = heads.of(tmp_path)
    assert found == published
    assert all(each.proven(KEY) for each in found)
    assert (tmp_path / heads.FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / heads.FILE).parent.stat().st_mode & 0o777 == 0o700


def test_a_line_that_a_crash_has_torn_is_left_out(tmp_path: Path) -> None:
    heads.publish(tmp_path, head(1))
    path = tmp_path / heads.FILE
    path.write_text(path.read_text() + heads.dump(head(2))[:40])
    assert [each.sequence for each in heads.of(tmp_path)] == [1]
    heads.publish(tmp_path, head(3))
    assert [each.sequence for each in heads.of(tmp_path)] == [1, 3]


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    for text in ("[]", '{"at": 1}', "nothing"):
        path.write_text(f"{heads.dump(head(1))}\n{text}\n")
        with pytest.raises(AuditError, match="line 2"):
            heads.read(path)
    path.write_bytes(b"\xff")
    with pytest.raises(AuditError, match="not text"):
        heads.read(path)
    with pytest.raises(AuditError, match="No such file"):
        heads.read(tmp_path / "absent")


def test_a_long_file_keeps_the_newest_of_each_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):
        heads.publish(tmp_path, head(number, "one"))
        heads.publish(tmp_path, head(number, "two"))
    monkeypatch.setattr(heads, "LARGEST", 100)
    heads.publish(tmp_path, head(9, "one"))
    assert [(each.writer, each.sequence) for each in heads.of(tmp_path)] == [("one", 9), ("two", 5)]
    assert (tmp_path / heads.FILE).stat().st_mode & 0o777 == 0o600


def test_writers_at_once_lose_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "LARGEST", 2000)  # so that it is shortened meanwhile
    threads = [
        threading.Thread(target=lambda name=name: [heads.publish(tmp_path, head(n, name)) for n in range(1, 31)])
        for name in ("one", "two", "three")
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    newest: dict[str, int] = {}
    for found in heads.of(tmp_path):
        newest[found.writer] = max(newest.get(found.writer, 0), found.sequence)
    assert newest == {"one": 30, "two": 30, "three": 30}
