"""Asking a running gateway: one JSON line over its control socket, one JSON line back, or several.

→ {"ask": "status"}        (status | reload | restart | explain, with "question" | services, with "call" | down)
← {"progress": "…"}            any number of these, while a restart goes on
← {"ok": true, "body": {…}}   or   {"ok": false, "error": "…", "problems": [{file, line, path, message}, …]}
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from portico.errors import ConfigError, ControlError, NotReady, NotRunning, Problem
from portico.runtime import paths

TIMEOUT: Final = 60.0  # seconds; a reload waits for every child
LONGEST_ANSWER: Final = 16 * 1024 * 1024


def ask(
    data_dir: Path,
    what: str,
    timeout: float = TIMEOUT,
    progress: Callable[[str], None] | None = None,
    **more: dict[str, Any],
) -> dict[str, Any]:
    """Ask the gateway of `data_dir`, with `more` in the line; the body of its answer.

    `timeout` seconds bound each wait; `progress` is told of each step on the way.
    NotRunning when none answers, ConfigError with the problems when it refuses a file, else ControlError.
    """
    record = paths.read_record(data_dir)
    if record is None:
        raise NotRunning(f"no gateway is running on {data_dir}")
    absent = f"no gateway is running on {data_dir}"
    return _ask(record.control, {"ask": what, **more}, timeout, absent, progress or _nobody)


def _ask(
    control: str, line: dict[str, Any], timeout: float, absent: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(control)
        except OSError as error:
            raise NotRunning(absent) from error
        try:
            sock.sendall(json.dumps(line).encode() + b"\n")
            answer = _answer(sock, progress)
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


def _answer(sock: socket.socket, progress: Callable[[str], None]) -> Any:
    with sock.makefile("rb") as stream:
        while True:
            answer = json.loads(stream.readline(LONGEST_ANSWER))
            if "progress" not in answer:
                return answer
            progress(str(answer["progress"]))


def _nobody(_: str) -> None:
    """Nobody wants to hear of the steps."""


def _body(answer: Any) -> dict[str, Any]:
    if answer.get("ok"):
        body: dict[str, Any] = answer["body"]
        return body
    if answer.get("problems"):
        raise ConfigError([Problem(**problem) for problem in answer["problems"]])
    refusal = NotReady if answer.get("not_ready") else ControlError
    raise refusal(str(answer.get("error", "refused without a reason")), str(answer.get("hint", "")))


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
