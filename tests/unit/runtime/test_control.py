"""The control socket: one line each way, only for its owner, and never blocking the supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portico.errors import ConfigError, ControlError, NotRunning
from portico.runtime import control
from portico.runtime.control_server import LONGEST_REQUEST, ControlServer, Reply
from portico.runtime.loop import Loop
from portico.runtime.paths import Record


def _handle(what: str, _: dict[str, Any], reply: Reply) -> None:
    if what == "big":
        reply({"ok": True, "body": {"text": "x" * 3_000_000}})
    elif what == "problems":
        problem = {"file": "portico.yaml", "line": 7, "path": "server.prot", "message": "is no key"}
        reply({"ok": False, "error": "refused", "problems": [problem]})
    elif what == "steps":
        for step in ("one", "two"):
            reply({"progress": step})
        threading.Timer(0.1, reply, [{"ok": True, "body": {"steps": 2}}]).start()
    elif what != "never":
        reply({"ok": bool(what), "body": {"asked": what}, "error": "nothing asked"})


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "control.sock"
    loop = Loop()
    server = ControlServer(loop, path, _handle)
    server.open()
    Record(os.getpid(), str(path), str(tmp_path), str(tmp_path), "", (), 0.0, "1").write()
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    yield tmp_path
    stopper = Loop.later  # a timer set from this thread is seen at the next wake: wake it by a connection
    stopper(loop, 0, loop.stop)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
    thread.join(5)
    server.close()
    loop.close()
    assert not path.exists()


def _raw(data_dir: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(8)
        sock.connect(str(data_dir / "control.sock"))
        sock.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(65536):
                received += data
        return received


def test_it_answers(data_dir: Path) -> None:
    assert control.ask(data_dir, "status") == {"asked": "status"}


def test_only_its_owner_may_connect(data_dir: Path) -> None:
    assert (data_dir / "control.sock").stat().st_mode & 0o777 == 0o600


def test_another_user_is_not_heard_even_when_the_file_lets_him_in(data_dir: Path) -> None:
    """Needs root, to become somebody else; without, the mode above is what is tested."""
    if os.geteuid() != 0:
        return
    for path in (data_dir, *data_dir.parents):
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o005)
    (data_dir / "control.sock").chmod(0o666)
    program = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1])\n"
        'try:\n    s.sendall(b\'{"ask": "status"}\\n\'); print(s.recv(100))\nexcept OSError: print(b"")'
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", program, str(data_dir / "control.sock")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "b''\n", result.stderr
    assert control.ask(data_dir, "status") == {"asked": "status"}


def test_a_large_answer_arrives_whole(data_dir: Path) -> None:
    assert len(control.ask(data_dir, "big")["text"]) == 3_000_000


def test_steps_are_told_on_the_way(data_dir: Path) -> None:
    told: list[str] = []
    assert control.ask(data_dir, "steps", progress=told.append) == {"steps": 2}
    assert told == ["one", "two"]
    assert control.ask(data_dir, "steps") == {"steps": 2}, "nobody has to listen"


def test_problems_become_a_configuration_error(data_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"portico\.yaml:7: server\.prot: is no key"):
        control.ask(data_dir, "problems")


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{}\n", b'{"ask": 5}\n', b"\xff\xfe\n", b'{"ask": "\n'])
def test_nonsense_is_refused(data_dir: Path, line: bytes) -> None:
    assert json.loads(_raw(data_dir, line))["ok"] is False
    assert control.ask(data_dir, "status") == {"asked": "status"}


def test_a_request_without_end_is_cut_off(data_dir: Path) -> None:
    with contextlib.suppress(BrokenPipeError):
        assert _raw(data_dir, b"x" * (2 * LONGEST_REQUEST)) == b""
    assert control.ask(data_dir, "status") == {"asked": "status"}


def test_one_that_says_nothing_delays_nobody_and_is_dropped(data_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(data_dir / "control.sock"))
        began = time.monotonic()
        assert control.ask(data_dir, "status") == {"asked": "status"}
        assert time.monotonic() - began < 1
        silent.settimeout(8)
        assert silent.recv(1) == b""


def test_no_gateway_is_not_running(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no gateway is running on"):
        control.ask(tmp_path, "status")
    Record(1, str(tmp_path / "gone.sock"), str(tmp_path), str(tmp_path), "", (), 0.0, "1").write()
    with pytest.raises(NotRunning):
        control.ask(tmp_path, "status")


def test_one_that_does_not_answer_is_said_so(data_dir: Path) -> None:
    with pytest.raises(ControlError, match=r"did not answer within 0\.2 s"):
        control.ask(data_dir, "never", timeout=0.2)


def test_a_caller_that_leaves_before_its_answer_harms_nobody(data_dir: Path) -> None:
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(data_dir / "control.sock"))
            sock.sendall(b'{"ask": "big"}\n')
    answer: dict[str, Any] = control.ask(data_dir, "status")
    assert answer == {"asked": "status"}
