"""An upstream in a process of its own, which can be killed and started again on the same port."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from portico.testing import wait_for
from portico.testing.harness import free_port


class UpstreamProcess:
    """`portico.testing.echo` on 127.0.0.1, inside a `with` block; or another `program`, which is told its port."""

    def __init__(self, program: Sequence[str] = ("-m", "portico.testing.echo"), *more: str) -> None:
        self._program = program
        self._more = more
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it takes connections."""
        command = [sys.executable, *self._program, str(self.port), *self._more]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(self._listens, 10)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.kill()
