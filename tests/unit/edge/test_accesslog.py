"""The access log never waits for the disk, keeps a bound, and counts what it drops."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from portico.edge.accesslog import BATCH, MAX_WAITING, AccessLog


def wait_for(path: Path, size: int) -> None:
    deadline = time.monotonic() + 5
    while path.stat().st_size < size:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lines_arrive_whole_and_in_order(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.log"))
    log.start()
    lines = [b'{"n":%d}\n' % number for number in range(20_000)]
    for line in lines:
        log.write(line)
    log.stop()
    assert (tmp_path / "access.log").read_bytes() == b"".join(lines)
    assert log.dropped == 0


def test_a_stuck_disk_delays_nobody_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe that nobody reads: writing to it blocks
    log = AccessLog(str(path))
    log.start()
    line = b"x" * 1023 + b"\n"
    count = 4 * MAX_WAITING // len(line)
    began = time.monotonic()
    for _ in range(count):
        log.write(line)
    log.flush()
    assert time.monotonic() - began < 2.0
    assert 0 < log.dropped < count
    assert (count - log.dropped) * len(line) <= MAX_WAITING + 2 * BATCH
    os.set_blocking(reader, True)
    received = 0
    while received < (count - log.dropped) * len(line):
        received += len(os.read(reader, 1 << 20))
    log.stop()
    os.close(reader)


def test_a_rotated_file_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    log.start()
    log.write(b"one\n")
    log.flush()
    wait_for(path, 4)
    path.rename(tmp_path / "access.log.1")
    log.reopen()
    log.write(b"two\n")
    log.stop()
    assert (tmp_path / "access.log.1").read_bytes() == b"one\n"
    assert path.read_bytes() == b"two\n"


def test_a_full_disk_is_counted_and_not_fatal() -> None:
    log = AccessLog("/dev/full")
    log.start()
    log.write(b"lost\n")
    log.flush()
    _until_dropped(log, 1)
    log.stop()
    assert log.dropped == 1


def test_a_line_that_did_not_fit_spoils_no_other(tmp_path: Path) -> None:
    """The disk fills up in the middle of a line, and has room again later."""
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    log.start()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25, before[1]))
    try:
        log.write(b"1234567890\n" * 5)
        log.flush()
        wait_for(path, 25)
        log.write(b"nothing of it\n")
        log.flush()
        _until_dropped(log, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.write(b"whole\n")
    log.stop()
    assert path.read_bytes() == b"1234567890\n1234567890\n123\nwhole\n"
    assert log.dropped == 2


def _until_dropped(log: AccessLog, count: int) -> None:
    deadline = time.monotonic() + 5
    while log.dropped < count and time.monotonic() < deadline:
        time.sleep(0.01)
        log.flush()
