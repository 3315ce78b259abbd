"""The PID file: the lock decides, not the file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from portico.errors import AlreadyRunning, StartError
from portico.runtime.lock import COMMAND, PidFile

HOLD = """
import sys, pathlib
from portico.runtime.lock import PidFile
PidFile(pathlib.Path(sys.argv[1])).acquire(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


def _holder(path: Path, purpose: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HOLD, str(path), purpose]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_it_holds_this_process_id(tmp_path: Path) -> None:
    lock = PidFile(tmp_path)
    lock.acquire()
    assert (tmp_path / "portico.pid").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "portico.pid").stat().st_mode & 0o777 == 0o600
    lock.release()
    assert not (tmp_path / "portico.pid").exists()


def test_a_second_start_names_the_process_that_holds_it(tmp_path: Path) -> None:
    holder = _holder(tmp_path)
    try:
        with pytest.raises(AlreadyRunning, match=f"process {holder.pid} already runs a gateway on {tmp_path}"):
            PidFile(tmp_path).acquire()
    finally:
        _end(holder)


def test_a_file_left_by_a_killed_process_is_stale(tmp_path: Path) -> None:
    _end(_holder(tmp_path))
    assert (tmp_path / "portico.pid").exists()
    lock = PidFile(tmp_path)
    lock.acquire()
    assert (tmp_path / "portico.pid").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_file_with_the_id_of_a_living_process_but_no_lock_is_stale(tmp_path: Path) -> None:
    (tmp_path / "portico.pid").write_text("1\n")
    lock = PidFile(tmp_path)
    lock.acquire()
    lock.release()


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "portico.pid").symlink_to(tmp_path / "victim")
    with pytest.raises(StartError, match=r"portico\.pid can't be opened"):
        PidFile(tmp_path).acquire()
    assert (tmp_path / "victim").read_text() == "precious"


def test_of_many_that_come_and_go_at_once_only_one_ever_holds_it(tmp_path: Path) -> None:
    inside = threading.Semaphore(1)
    together: list[str] = []
    gained = [0]

    def come_and_go() -> None:
        for _ in range(60):
            lock = PidFile(tmp_path)
            try:
                lock.acquire()
            except AlreadyRunning:
                continue
            if not inside.acquire(blocking=False):
                together.append("two hold it")
            else:
                gained[0] += 1
                inside.release()
            lock.release()

    threads = [threading.Thread(target=come_and_go, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == []
    assert gained[0] > 0


def test_a_gateway_waits_for_a_command_but_not_for_a_gateway(tmp_path: Path) -> None:
    command = _holder(tmp_path, COMMAND)
    with pytest.raises(AlreadyRunning, match=f"process {command.pid} works on {tmp_path}") as caught:
        PidFile(tmp_path).acquire()
    assert caught.value.by_command
    ending = threading.Timer(0.3, lambda: _end(command))
    ending.start()
    lock = PidFile(tmp_path)
    lock.acquire_after_commands()
    ending.join()
    assert (tmp_path / "portico.pid").read_text() == f"{os.getpid()}\n"
    lock.release()
    gateway = _holder(tmp_path)
    try:
        with pytest.raises(AlreadyRunning) as refused:
            PidFile(tmp_path).acquire_after_commands()
        assert not refused.value.by_command
    finally:
        _end(gateway)
