"""Segments: what was written is read, and what was tampered with is not."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.telemetry.spool import Progress, SegmentWriter, SpoolKey, lives, measure, read, segments
from portico.telemetry.spool.format import HEAD, RECORD
from portico.telemetry.spool.reader import Batch, Scan, key_id

KEY = SpoolKey(bytes(range(32)))


def written(folder: Path, records: int = 5) -> Path:
    """The only segment of a writer that has ended; record n has the rows [n]."""
    writer = SegmentWriter(folder, KEY)
    for number in range(1, records + 1):
        writer.append("usage", 1.0, [number])
    writer.sync()
    writer.close()
    return next(folder.glob("*.spool"))


def all_of(folder: Path, key: SpoolKey = KEY, *, ended: bool = True) -> Batch:
    """One reading of the only segment."""
    (files,) = segments(folder).values()
    return read(files[0], key, Progress(), ended=ended)


def rows(batch: Batch) -> list[int]:
    return [row for record in batch.records for row in record.rows]


def places(data: bytes) -> list[tuple[int, int]]:
    """Where each record begins and ends."""
    found, at = [], HEAD.size
    while at < len(data):
        end = at + RECORD.size + RECORD.unpack_from(data, at)[1]
        found.append((at, end))
        at = end
    return found


def test_what_is_written_is_read_in_order_over_several_segments(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, KEY, longest=400)
    for number in range(20):
        writer.append("usage", 12.5, [[number, "text"]])
    writer.close()
    (files,) = segments(tmp_path).values()
    assert len(files) > 3
    assert [each.number for each in files] == list(range(1, len(files) + 1))
    progress = Progress()
    found = []
    for each in files:
        assert key_id(each) == KEY.id
        batch = read(each, KEY, Progress(last=progress.last), ended=True)
        assert not batch.problems
        found += batch.records
        progress = batch.progress
    assert [record.sequence for record in found] == list(range(1, 21))
    assert [record.rows for record in found] == [[[number, "text"]] for number in range(20)]
    assert {(record.kind, record.at) for record in found} == {("usage", 12.5)}


def test_files_are_their_owners_alone_and_tell_nothing(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "spool", KEY)
    writer.append("recent", 1.0, [["/patients/4711", "key-of-ada"]])
    writer.close()
    path = next((tmp_path / "spool").glob("*.spool"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    data = path.read_bytes()
    for secret in (b"patients", b"ada", b"recent", KEY.secret):
        assert secret not in data


def test_a_reader_goes_on_where_it_was(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, KEY)
    writer.append("usage", 1.0, [1])
    (files,) = segments(tmp_path).values()
    first = read(files[0], KEY, Progress(), ended=False)
    writer.append("usage", 2.0, [2])
    second = read(files[0], KEY, first.progress, ended=False)
    assert (rows(first), rows(second)) == ([1], [2])
    assert rows(read(files[0], KEY, second.progress, ended=False)) == []


def test_a_reading_is_bounded_and_the_next_one_goes_on(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, KEY)
    for _ in range(10):
        writer.append("usage", 1.0, [0] * 10)
    (files,) = segments(tmp_path).values()
    progress, found, readings = Progress(), 0, 0
    while True:
        batch = read(files[0], KEY, progress, ended=False, most=30)
        progress, found, readings = batch.progress, found + len(batch.records), readings + 1
        if batch.all:
            break
    assert (found, readings) == (10, 4)


def test_the_lock_tells_that_a_writer_lives(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, KEY)
    writer.append("usage", 1.0, [1])
    (files,) = segments(tmp_path).values()
    assert lives(files[0])
    writer.close()
    assert not lives(files[0])


@pytest.mark.parametrize("cut", [1, RECORD.size - 1, RECORD.size, RECORD.size + 5])
def test_half_a_record_at_the_end_is_cut_or_waited_for(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: places(data)[-1][0] + cut])
    ended = all_of(tmp_path)
    assert (rows(ended), ended.problems, ended.refused) == ([1, 2, 3, 4], [], 0)
    waiting = all_of(tmp_path, ended=False)
    path.write_bytes(data)
    (files,) = segments(tmp_path).values()
    assert rows(read(files[0], KEY, waiting.progress, ended=False)) == [5]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_altered_byte_costs_its_record_and_no_other(data: st.DataObject) -> None:
    writer = uuid4()
    from portico.telemetry.spool.format import Sealer

    sealer = Sealer(KEY, writer)
    parts = [sealer.seal(number, "usage", 1.0, [number]) for number in range(1, 6)]
    whole = bytearray(b"".join(parts))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    hit = next(number for number in range(1, 6) if at < sum(len(part) for part in parts[:number]))
    batch = Scan(bytes(whole), sealer, Progress(), ended=True).run(1000)
    assert rows(batch) == [number for number in range(1, 6) if number != hit]
    # A last record whose length grew looks like one that was not finished.
    assert batch.refused == 1 or hit == 5
    assert batch.missing == (1 if hit < 5 else 0)


def test_swapped_removed_and_repeated_records_are_found(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    parts = [data[begin:end] for begin, end in places(data)]
    head = data[: HEAD.size]

    def found(*order: int) -> tuple[list[int], int, int, list[str]]:
        path.write_bytes(head + b"".join(parts[number - 1] for number in order))
        batch = all_of(tmp_path)
        return rows(batch), batch.refused, batch.missing, batch.problems

    assert found(1, 3, 2, 4, 5) == (
        [1, 3, 4, 5], 1, 1, ["record 2 is missing", "record 2 stands after record 3"]
    )  # fmt: skip
    assert found(1, 4, 5) == ([1, 4, 5], 0, 2, ["records 2 to 3 are missing"])
    assert found(1, 2, 2, 3, 4, 5) == ([1, 2, 3, 4, 5], 1, 0, ["record 2 stands after record 2"])


def test_what_was_taken_in_out_of_segments_that_are_gone_is_not_missing(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: HEAD.size] + data[places(data)[2][0] :])
    (files,) = segments(tmp_path).values()
    assert read(files[0], KEY, Progress(taken=4), ended=True).missing == 0
    assert read(files[0], KEY, Progress(taken=2), ended=True).missing == 0
    assert read(files[0], KEY, Progress(taken=1), ended=True).missing == 1


def test_a_record_of_another_writer_or_key_does_not_open(tmp_path: Path) -> None:
    path = written(tmp_path)
    other = SpoolKey(bytes(32))
    assert rows(all_of(tmp_path, other)) == []
    (files,) = segments(tmp_path).values()
    assert key_id(files[0]) not in (None, other.id)
    stolen = path.with_name(path.name.replace(str(files[0].writer), str(UUID(int=1))))
    path.rename(stolen)
    (files,) = segments(tmp_path).values()
    assert key_id(files[0]) is None
    assert rows(read(files[0], KEY, Progress(), ended=True)) == []


def test_a_record_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, KEY)
    writer.append("usage", 1.0, [1])
    size = next(tmp_path.glob("*.spool")).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))  # some of the next record fits
    try:
        with pytest.raises(OSError):
            writer.append("usage", 1.0, [2])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert next(tmp_path.glob("*.spool")).stat().st_size == size
    writer.append("usage", 1.0, [3])
    batch = all_of(tmp_path)
    assert (rows(batch), [record.sequence for record in batch.records], batch.problems) == ([1, 3], [1, 2], [])


def test_what_lies_there_is_measured(tmp_path: Path) -> None:
    assert measure(tmp_path / "none") is None
    path = written(tmp_path)
    os.utime(path, (1.0, 1.0))
    measured = measure(tmp_path)
    assert measured is not None
    assert measured.bytes == path.stat().st_size
    assert measured.age > 1e9
    (tmp_path / "intake").write_text('{"refused": 2, "missing": 3}')
    measured = measure(tmp_path)
    assert measured is not None
    assert measured.age < 60
    assert (measured.refused, measured.missing) == (2, 3)
