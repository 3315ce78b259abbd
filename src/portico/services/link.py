"""The services' end of the channel to the supervisor: what it asks is answered, what we ask comes back."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from portico.kernel.channel import AsyncChannel, Message
from portico.telemetry import logs
from portico.telemetry.counts import Counts
from portico.telemetry.lag import LoopLag
from portico.telemetry.tracing.process import Tracing

ASK_TIMEOUT: Final = 1.0  # seconds


class Link:
    """Reads the channel; `orders` receives what changes this process: `reload` and `drain` messages."""

    def __init__(self, channel: AsyncChannel) -> None:
        self.channel = channel
        self.orders: asyncio.Queue[Message] = asyncio.Queue()
        self.counts = Counts()
        self.requests = 0  # handled, for the report
        self.dependencies: dict[str, dict[str, Any]] = {}  # as last seen, for the report
        self.tracing: Tracing | None = None  # whose counters are in the report
        self._born = time.monotonic()
        self._lag = LoopLag(asyncio.get_running_loop())
        self._last = 0
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self.do: Callable[[Any], Awaitable[dict[str, Any]]] = _nothing_yet  # a command

    async def listen(self) -> None:
        """Handle messages until the supervisor is gone."""
        self._lag.start()
        while (message := await self.channel.receive()) is not None:
            kind = message["type"]
            if kind in ("reload", "drain"):
                self.orders.put_nowait(message)
            elif kind == "ask":
                self._answer(message)
            elif kind == "answer":
                self._answered(message)

    async def ask(self, what: str) -> dict[str, Any]:
        """The supervisor's answer to `what`; TimeoutError when it refuses or takes over a second."""
        self._last += 1
        number = self._last
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self.channel.send({"type": "ask", "id": number, "what": what})
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                return await future
        finally:
            del self._asked[number]

    def _answered(self, message: Message) -> None:
        future = self._asked.get(message["id"])
        if future is None or future.done():  # it came too late
            return
        if "body" in message:
            future.set_result(message["body"])
        else:
            future.set_exception(TimeoutError(message.get("error", "refused")))

    def _answer(self, message: Message) -> None:
        answer: Message = {"type": "answer", "id": message["id"]}
        if message["what"] == "call":
            task = asyncio.create_task(self._call(answer, message.get("call")))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            return
        if message["what"] == "report":
            answer["body"] = self._report()
        else:
            answer["error"] = f"the services can't answer {message['what']!r}"
        self.channel.send(answer)

    async def _call(self, answer: Message, called: Any) -> None:
        try:
            self.channel.send({**answer, "body": await self.do(called)})
        except Exception as error:  # nobody is left waiting for an answer that can't be written
            logs.get("portico.services").error("a command failed", exc_info=error)
            self.channel.send({**answer, "body": {"error": "the command failed; the log of the gateway tells why"}})

    def _report(self) -> dict[str, Any]:
        age = time.monotonic() - self._born
        lag = self._lag.p99()
        return {
            "pid": os.getpid(),
            "age": age,
            "rss": _resident(),
            "requests": self.requests,
            "lag": lag,
            "dependencies": self.dependencies,
            "counted": {
                **self.counts.report(),
                "counts": {} if self.tracing is None else self.tracing.counts(),
            },
        }


async def _nothing_yet(_: Any) -> dict[str, Any]:
    return {"error": "the services are still starting"}


def _resident() -> int:
    """Bytes of resident memory (proc(5), statm)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
