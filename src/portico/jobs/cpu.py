"""Processes for work that would keep the event loop waiting: few, used again and again, and killed to stop them.

Each is started by exec and talks over a socket pair (`kernel.channel`): one call at a time, JSON both ways.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import deque
from contextlib import suppress
from typing import Any, Final

from portico.errors import GiveUp, JobError
from portico.kernel.channel import AsyncChannel

CALLS: Final = 100  # after which a process makes room for a new one: what it leaked goes with it


class CallFailed(JobError):
    """The function raised, or its process died."""


class Processes:
    """At most `most` processes, started when they are needed."""

    def __init__(self, most: int) -> None:
        self.free = asyncio.Semaphore(most)  # hold it while you call
        self._idle: deque[_Process] = deque()

    async def call(self, function: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        """What `function` ("module:function") answers. Cancelling it kills the process. CallFailed says what failed."""
        process = self._idle.pop() if self._idle else await _Process.start()
        answer: dict[str, Any] | None = None
        try:
            answer = await process.ask({"function": function, "payload": payload})
        finally:
            if answer is not None and process.calls < CALLS:
                self._idle.append(process)
            else:
                await process.end()
        if answer is None:
            raise CallFailed("the process that ran it died")
        if answer["type"] == "failed":
            raise (GiveUp if answer["final"] else CallFailed)(str(answer["error"]))
        result: dict[str, Any] | None = answer["result"]
        return result

    async def stop(self) -> None:
        """End those that are idle; may be called twice."""
        while self._idle:
            await self._idle.pop().end()


class _Process:
    def __init__(self, process: asyncio.subprocess.Process, channel: AsyncChannel) -> None:
        self.calls = 0
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "portico.jobs.child", str(theirs.fileno()), str(os.getpid())),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, AsyncChannel(ours))

    async def ask(self, call: dict[str, Any]) -> dict[str, Any] | None:
        """None: it is gone."""
        self.calls += 1
        self._channel.send(call)
        return await self._channel.receive()

    async def end(self) -> None:
        self._channel.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.shield(self._process.wait())
