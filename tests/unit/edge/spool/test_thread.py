"""The writing thread: nothing is lost while there is no key, no room, or no disk."""

from __future__ import annotations

import io
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.edge.test_usage import CALLERS, ended, recorder

from portico.edge.record import Recorder
from portico.edge.spool import Spool
from portico.telemetry import logs
from portico.telemetry.spool import Progress, SpoolKey, read, segments

KEY = SpoolKey(bytes(range(32)))


def kept(folder: Path, kind: str = "usage") -> list[list[Any]]:
    """All rows of a kind in the spool."""
    return [
        row
        for files in segments(folder).values()
        for each in files
        for record in read(each, KEY, Progress(), ended=True, most=1_000_000).records
        if record.kind == kind
        for row in record.rows
    ]


def requests(folder: Path) -> int:
    return sum(row[8] for row in kept(folder))


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def spool(folder: Path, **more: Any) -> tuple[Recorder, Spool]:
    made = recorder()
    return made, Spool(str(folder / "spool"), made.usage, **more)


def test_what_was_counted_before_the_key_was_known_is_written_after(tmp_path: Path) -> None:
    made, writing = spool(tmp_path)
    writing.start(None)
    ended(made, CALLERS[1])
    writing.flush()
    ended(made, CALLERS[1])
    until(lambda: writing._queue.empty())
    assert not (tmp_path / "spool").exists()
    writing.start(KEY)
    until(lambda: requests(tmp_path / "spool") == 1)
    writing.stop()
    assert requests(tmp_path / "spool") == 2
    assert writing.counts() == {"usage_lost": 0, "usage_merged": 0, "requests_recent_dropped": 0}


def test_it_hands_over_about_once_a_second(tmp_path: Path) -> None:
    made, writing = spool(tmp_path)
    writing.start(KEY)
    ended(made, CALLERS[1])
    writing.turn(100.0)
    ended(made, CALLERS[1])
    writing.turn(100.5)
    until(lambda: requests(tmp_path / "spool") == 1)
    writing.turn(101.0)
    until(lambda: requests(tmp_path / "spool") == 2)
    writing.stop()


def test_a_disk_that_is_full_for_a_while_loses_nothing(tmp_path: Path) -> None:
    logs.configure("info", "json", io.StringIO())  # its own words are on the full disk too
    made, writing = spool(tmp_path)
    writing.start(KEY)
    ended(made, CALLERS[1])
    writing.flush()
    until(lambda: requests(tmp_path / "spool") == 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        for _ in range(3):
            ended(made, CALLERS[1])
            writing.flush()
            until(lambda: writing._queue.empty())
        until(lambda: bool(writing._failed))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert requests(tmp_path / "spool") == 1
    writing.flush()
    until(lambda: requests(tmp_path / "spool") == 4)
    writing.stop()
    assert writing.lost == 0


def test_a_spool_that_is_full_takes_no_more_and_usage_waits(tmp_path: Path) -> None:
    made, writing = spool(tmp_path, most=100)
    (tmp_path / "spool").mkdir()
    there = tmp_path / "spool" / "00000000-0000-0000-0000-000000000001-00000001.spool"
    there.write_bytes(bytes(200))
    writing.start(KEY)
    ended(made, CALLERS[1])
    writing.flush()
    until(lambda: "MiB" in writing._failed)
    there.unlink()
    writing._weighed = -1e9
    writing.flush()
    until(lambda: requests(tmp_path / "spool") == 1)
    writing.stop()


def test_requests_in_detail_go_first_when_room_is_scarce(tmp_path: Path) -> None:
    made, writing = spool(tmp_path)
    writing._weighed, writing._weight = time.monotonic() + 3600, 600 * 1024 * 1024
    writing.start(KEY)
    ended(made, CALLERS[1])
    writing.stop()
    assert (requests(tmp_path / "spool"), kept(tmp_path / "spool", "recent")) == (1, [])
    assert writing.counts()["requests_recent_dropped"] == 1


def test_a_stop_without_a_key_says_what_is_lost(tmp_path: Path) -> None:
    made, writing = spool(tmp_path)
    writing.start(None)
    ended(made, CALLERS[1])
    writing.stop()
    assert writing.lost == 1


def test_it_can_be_switched_off_and_on(tmp_path: Path) -> None:
    made, writing = spool(tmp_path)
    for _ in range(2):
        writing.start(KEY)
        ended(made, CALLERS[1])
        writing.stop()
        ended(made, CALLERS[1])
    assert requests(tmp_path / "spool") == 2
