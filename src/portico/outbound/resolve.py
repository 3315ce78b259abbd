"""Names are looked up in threads of our own: a dead name server must not keep the threads that hash passwords."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

Lookup = Callable[[str, int], Awaitable[list[str]]]  # host, port → addresses; OSError when there are none

THREADS: Final = 8
MOST: Final = 8  # addresses of one name that are tried


class SystemLookup:
    """The system's resolver."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def __call__(self, host: str, port: int) -> list[str]:
        """All addresses of a name, each once; OSError when there are none."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="portico-names")
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _lookup, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Let go of the threads; one that still waits ends by itself."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _lookup(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError("the name can't be looked up") from None
    return [str(entry[4][0]) for entry in found]
