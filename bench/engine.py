"""An engine that takes its time and finds every text malicious. Run as a process of its own: its port, and how many
milliseconds an answer takes."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Final, cast

import uvloop

BODY: Final = json.dumps({
    "is_malicious": True, "confidence": 0.97, "threat_types": ["injection"], "processing_time_ms": 5.0,
    "reason": "the stub finds everything malicious", "endpoint": "stub",
}).encode()  # fmt: skip
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


class Engine(asyncio.Protocol):
    """One connection, one request after another."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n") + 4) > 3:
            length = LENGTH.search(self.data[:end])
            whole = end + (int(length[1]) if length else 0)
            if len(self.data) < whole:
                return
            self.data = self.data[whole:]
            asyncio.get_running_loop().call_later(self.seconds, self.transport.write, ANSWER)


async def serve(port: int, milliseconds: float) -> None:
    """Until the process is ended."""
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Engine(milliseconds / 1000), "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
