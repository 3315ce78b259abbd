"""Holds many connections of one kind: idle, websocket or sse. Run as a process of its own: it says `held` when all are
there, and when its standard input ends it prints how many messages came and closes them.

holder.py KIND PORT COUNT KEY
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final, cast

import uvloop

AT_ONCE: Final = 50  # connections that are being opened at the same time
WITHIN: Final = 30.0
FRAME: Final = b"\x81\xe4" + bytes(4) + b"x" * 100  # a masked text frame; the mask is 0
FIELDS: Final = {
    "idle": "",
    "sse": "Accept: text/event-stream\r\n",
    "websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
}
PATHS: Final = {"idle": "/users/1", "sse": "/users/stream", "websocket": "/users/socket"}
STATUS: Final = {"idle": b"HTTP/1.1 200", "sse": b"HTTP/1.1 200", "websocket": b"HTTP/1.1 101"}


class Held(asyncio.Protocol):
    """One connection that is kept."""

    def __init__(self, kind: str, head: bytes) -> None:
        self.kind = kind
        self.head = head
        self.ready = asyncio.get_running_loop().create_future()
        self.messages = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.head)

    def data_received(self, data: bytes) -> None:
        self.messages += 1
        if self.ready.done():
            return
        if data.startswith(STATUS[self.kind]):
            self.ready.set_result(None)
        else:
            self.ready.set_exception(RuntimeError(f"{self.kind}: {data[:200]!r}"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(RuntimeError(f"{self.kind}: the connection ended"))


def given(one: Held) -> Callable[[], Held]:
    """A factory of this one protocol."""
    return lambda: one


async def hold(kind: str, port: int, count: int, key: str) -> int:
    """Messages that came after the connections were there."""
    loop = asyncio.get_running_loop()
    head = f"GET {PATHS[kind]} HTTP/1.1\r\nHost: api.example.org\r\nX-API-Key: {key}\r\n{FIELDS[kind]}\r\n".encode()
    held: list[Held] = []
    while len(held) < count:
        some = [Held(kind, head) for _ in range(min(AT_ONCE, count - len(held)))]
        await asyncio.gather(*(loop.create_connection(given(one), "127.0.0.1", port) for one in some))
        await asyncio.wait_for(asyncio.gather(*(one.ready for one in some)), WITHIN)
        held += some
    print("held", flush=True)
    closed = loop.run_in_executor(None, sys.stdin.read)
    before = sum(one.messages for one in held)
    while not closed.done():
        if kind != "websocket":
            await asyncio.wait([closed], timeout=1)
            continue
        for one in held:  # a message each second on each, spread over the second
            one.transport.write(FRAME)
            await asyncio.sleep(0.9 / count)
    if any(one.transport.is_closing() for one in held):
        raise RuntimeError(f"{kind}: connections were closed by the gateway")
    return sum(one.messages for one in held) - before


if __name__ == "__main__":
    kind_, port_, count_, key_ = sys.argv[1:]
    print(uvloop.run(hold(kind_, int(port_), int(count_), key_)))
