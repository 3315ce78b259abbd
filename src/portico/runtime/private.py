"""The socket between the edge and the services. The supervisor owns it, so that a request waits where it can wait.

What the edge asks while the services are restarted, or are being replaced after a death, waits in the socket's queue
for the next process. It does not wait for ever: when none is ready within WAIT, or the next one dies before it is
ready, the supervisor closes what comes, and the edge answers 503 at once until a process is ready again.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from portico.runtime.child import Child
from portico.runtime.loop import READ, Loop, Timer
from portico.runtime.options import SERVICES
from portico.runtime.tree import Tree
from portico.services.bind import bind

WAIT: Final = 5.0  # seconds; a start takes 1.5 of them, and more on a busy machine


class PrivateSocket:
    """Opened when the first services process starts, and kept until the end."""

    def __init__(self, loop: Loop, tree: Tree) -> None:
        self.path = Path()
        self._loop = loop
        self._tree = tree
        self._sock: socket.socket | None = None
        self._timer: Timer | None = None

    def fileno(self) -> int:
        """The descriptor, for a process that is about to start."""
        if self._sock is None:
            self._sock = bind(self.path)
        return self._sock.fileno()

    def is_ready(self, child: Child) -> None:
        """A process takes what comes."""
        if child.role == SERVICES and self._sock is not None:
            self._cancel()
            self._loop.unwatch(self._sock)

    def has_ended(self, child: Child) -> None:
        """A process is gone: let what comes wait for the next one, if there is hope."""
        if child.role != SERVICES or self._tree.ready(SERVICES):
            return
        self._cancel()
        if child.was_ready:
            self._timer = self._loop.later(WAIT, self._refuse)
        else:
            self._refuse()

    def close(self) -> None:
        """Nobody can connect any more."""
        self._cancel()
        if self._sock is not None:
            self.path.unlink(missing_ok=True)
            self._loop.unwatch(self._sock)
            self._sock.close()
            self._sock = None

    def _refuse(self) -> None:
        self._timer = None
        if self._sock is not None:
            self._loop.watch(self._sock, READ, self._turn_away)

    def _turn_away(self, _: int) -> None:
        assert self._sock is not None
        try:
            self._sock.accept()[0].close()
        except OSError:
            return  # a process that is starting was quicker

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
