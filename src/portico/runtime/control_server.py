"""The supervisor's end of the control socket (0600; the caller must be this user or root)."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from portico.runtime.loop import READ, WRITE, Loop

LONGEST_REQUEST: Final = 256 * 1024  # a request head to explain, each byte escaped
MOST_CALLERS: Final = 32
PATIENCE: Final = 5.0  # seconds a caller has to say what it wants

Reply = Callable[[dict[str, Any]], None]
Handle = Callable[[str, dict[str, Any], Reply], None]


class Caller:
    """One connection to the control socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.answer = b""
        self.asked = False
        self.answered = False

    def fileno(self) -> int:
        return self.sock.fileno()


class ControlServer:
    """Takes one JSON line from each caller and gives it to `handle(what, line, reply)`; `reply` may come later.

    A reply that has `progress` is not the last one.
    """

    def __init__(self, loop: Loop, path: Path, handle: Handle) -> None:
        self.path = path
        self._loop = loop
        self._handle = handle
        self._listener: socket.socket | None = None
        self._callers: set[Caller] = set()

    def open(self) -> None:
        """Listen; a socket left by a dead gateway is replaced (the caller holds the PID file)."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        os.chmod(self.path, 0o600)
        self._listener.listen(MOST_CALLERS)
        self._listener.setblocking(False)
        self._loop.watch(self._listener, READ, self._accept)

    def close(self) -> None:
        """Stop listening and end every connection."""
        for caller in list(self._callers):
            self._drop(caller)
        if self._listener is not None:
            self._loop.unwatch(self._listener)
            self._listener.close()
            self._listener = None
            self.path.unlink(missing_ok=True)

    def _accept(self, _: int) -> None:
        assert self._listener is not None
        try:
            sock, _address = self._listener.accept()
        except OSError:
            return  # it has gone already
        if len(self._callers) >= MOST_CALLERS or not _ours(sock):
            sock.close()
            return
        sock.setblocking(False)
        caller = Caller(sock)
        self._callers.add(caller)
        self._loop.watch(caller, READ, lambda _: self._receive(caller))
        self._loop.later(PATIENCE, lambda: None if caller.asked else self._drop(caller))

    def _receive(self, caller: Caller) -> None:
        try:
            data = caller.sock.recv(LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(caller)
            return
        caller.received += data
        if caller.asked or len(caller.received) > LONGEST_REQUEST:
            self._drop(caller)
        elif caller.received.endswith(b"\n"):
            caller.asked = True
            asked = _read(caller.received)
            what = asked.get("ask")
            what = what if isinstance(what, str) else ""
            self._handle(what, asked, lambda answer: self._reply(caller, answer))

    def _reply(self, caller: Caller, answer: dict[str, Any]) -> None:
        if caller in self._callers:
            caller.answered = "progress" not in answer
            caller.answer += json.dumps(answer).encode() + b"\n"
            self._loop.watch(caller, WRITE, lambda _: self._send(caller))
            self._send(caller)

    def _send(self, caller: Caller) -> None:
        try:
            caller.answer = caller.answer[caller.sock.send(caller.answer) :]
        except BlockingIOError:
            return
        except OSError:
            caller.answer = b""
            caller.answered = True
        if not caller.answer:
            if caller.answered:
                self._drop(caller)
            else:
                self._loop.watch(caller, READ, lambda _: self._receive(caller))

    def _drop(self, caller: Caller) -> None:
        if caller in self._callers:
            self._callers.remove(caller)
            self._loop.unwatch(caller)
            caller.sock.close()


def _ours(sock: socket.socket) -> bool:
    """Whether the caller runs as this user or as root (SO_PEERCRED, unix(7))."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", raw)
    return uid in (os.geteuid(), 0)


def _read(line: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(line)
    except ValueError:
        return {}
    return asked if isinstance(asked, dict) else {}
