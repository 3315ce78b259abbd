"""Asking a running gateway: one JSON line over its control socket, one JSON line back.

→ {"ask": "status"}        (status | reload | down)
← {"ok": true, "body": {…}}   or   {"ok": false, "error": "…", "problems": [{file, line, path, message}, …]}
"""

from __future__ import annotations

import json
import os
import select
import socket
from pathlib import Path
from typing import Any, Final

from portico.errors import ConfigError, ControlError, NotRunning, Problem
from portico.runtime import paths

TIMEOUT: Final = 60.0  # seconds; a reload waits for every child
LONGEST_ANSWER: Final = 16 * 1024 * 1024


def ask(data_dir: Path, what: str, timeout: float = TIMEOUT) -> dict[str, Any]:
    """Ask the gateway of `data_dir`; the body of its answer.

    NotRunning when none answers, ConfigError with the problems when it refuses a file, else ControlError.
    """
    record = paths.read_record(data_dir)
    if record is None:
        raise NotRunning(f"no gateway is running on {data_dir}")
    return _ask(record.control, what, timeout, f"no gateway is running on {data_dir}")


def _ask(control: str, what: str, timeout: float, absent: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(control)
        except OSError as error:
            raise NotRunning(absent) from error
        try:
            sock.sendall(json.dumps({"ask": what}).encode() + b"\n")
            answer = json.loads(_line(sock))
        except TimeoutError as error:
            raise ControlError(f"the gateway did not answer within {timeout:g} s") from error
        except (OSError, ValueError) as error:
            raise ControlError("the gateway ended, or broke off its answer") from error
    return _body(answer)


def alive(record: paths.Record) -> bool:
    """Whether the gateway of `record` accepts connections on its control socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(record.control)
        except OSError:
            return False
    return True


def _line(sock: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n") and len(received) < LONGEST_ANSWER:
        data = sock.recv(65536)
        if not data:
            break
        received += data
    return received


def _body(answer: Any) -> dict[str, Any]:
    if answer.get("ok"):
        body: dict[str, Any] = answer["body"]
        return body
    if answer.get("problems"):
        raise ConfigError([Problem(**problem) for problem in answer["problems"]])
    raise ControlError(str(answer.get("error", "refused without a reason")))


def stop(data_dir: Path, timeout: float = 3600.0) -> int:
    """Stop the gateway of `data_dir` and wait until its process has ended; its process id.

    NotRunning when there is none; ControlError when it still drains after `timeout` seconds.
    """
    pid = int(ask(data_dir, "status", 10.0)["pid"])
    try:
        process = os.pidfd_open(pid)  # taken before it is told to stop: the number can't be another's
    except ProcessLookupError:
        raise NotRunning(f"no gateway is running on {data_dir}") from None
    try:
        ask(data_dir, "down", 10.0)
        if not select.select([process], [], [], timeout)[0]:
            raise ControlError(f"process {pid} still drains after {timeout:g} s")
    finally:
        os.close(process)
    return pid
