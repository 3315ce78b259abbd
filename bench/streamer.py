"""An upstream of streams: WebSockets that answer every message, Server-Sent Events once a second, else a short answer.
Run as a process of its own with its port."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
from typing import Final, cast

import uvloop

ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
EVENT: Final = b"data: " + b"x" * 100 + b"\n\n"
CHUNK: Final = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
MESSAGE: Final = b"\x81\x64" + b"x" * 100  # an unmasked text frame
SHORT: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Streamer(asyncio.Protocol):
    """One connection."""

    def __init__(self, streams: set[asyncio.Transport]) -> None:
        self.streams = streams
        self.upgraded = False
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.upgraded:
            self.transport.write(MESSAGE)
            return
        self.head += data
        while b"\r\n\r\n" in self.head and not self.upgraded:
            head, _, self.head = self.head.partition(b"\r\n\r\n")
            self.answer(head)

    def answer(self, head: bytes) -> None:
        """Answer one request head."""
        key = re.search(rb"(?i)\r\nsec-websocket-key: *([^\r]+)", head)
        if key is not None:
            self.upgraded = True
            proof = base64.b64encode(hashlib.sha1(key.group(1).strip() + ACCEPT).digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
            )
        elif b"/stream" in head.partition(b"\r\n")[0]:
            self.streams.add(self.transport)
            self.transport.write(STREAM)
        else:
            self.transport.write(SHORT)

    def connection_lost(self, error: Exception | None) -> None:
        self.streams.discard(self.transport)


async def serve(port: int) -> None:
    """Until the process is ended."""
    loop = asyncio.get_running_loop()
    streams: set[asyncio.Transport] = set()
    await loop.create_server(lambda: Streamer(streams), "127.0.0.1", port, backlog=4096)
    while True:
        await asyncio.sleep(1)
        for transport in list(streams):
            transport.write(CHUNK)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
