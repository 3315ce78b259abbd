"""Takes connections from the private socket, few at a wake where processes share it, so that they share the work."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

ALONE: Final = 128  # connections at a wake
SHARED: Final = 4  # a wake of a busy process is long: one at a time would keep a burst of connections waiting


class Taking:
    """What `loop.create_server` would be, but for greed: where it is `shared`, a busy process leaves most to others.

    Has of `asyncio.Server` what uvicorn asks for.
    """

    def __init__(self, sock: socket.socket, protocol: Callable[[], asyncio.Protocol], shared: bool) -> None:
        self._sock = sock
        self._protocol = protocol
        self._most = SHARED if shared else ALONE
        self._loop = asyncio.get_running_loop()
        self._attaching: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to take connections."""
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock.fileno(), self._take)

    def close(self) -> None:
        """Take no more; what waits in the queue is another process's."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    async def wait_closed(self) -> None:
        """Until those taken last have their protocol."""
        if self._attaching:
            await asyncio.wait(self._attaching)

    def _take(self) -> None:
        for _turn in range(self._most):
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return  # another process was quicker, or the edge has left again
            sock.setblocking(False)
            task = self._loop.create_task(self._attach(sock))
            self._attaching.add(task)
            task.add_done_callback(self._attaching.discard)

    async def _attach(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, sock)
        except OSError:
            sock.close()
