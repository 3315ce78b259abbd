"""The demo's upstream: answers any request with JSON of what it got, and `/stream` with ten server-sent events.

`python -m portico.testing.echo PORT` listens on 127.0.0.1; the supervisor runs `… --channel FD` and hands it a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys
import time
from typing import Any, Final

from portico.kernel.channel import AsyncChannel

TICKS: Final = 10
TICK: Final = 0.2  # seconds
MAX_HEAD: Final = 64 * 1024  # bytes
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)

Head = tuple[str, str, list[tuple[str, str]]]


class Echo:
    """The server: HTTP/1.1 on asyncio's streams, good enough for what the edge sends."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.served = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the other side closes it."""
        try:
            while (head := await _head(reader)) is not None:
                self.in_flight += 1
                try:
                    body = await _body(reader, head[2])
                    await self._answer(head, body, writer)
                finally:
                    self.in_flight -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return  # the client has gone, or speaks no HTTP
        finally:
            writer.close()

    async def _answer(self, head: Head, body: bytes, writer: asyncio.StreamWriter) -> None:
        method, target, headers = head
        self.served += 1
        if target.partition("?")[0] == "/stream" and method == "GET":
            await _stream(writer)
            return
        told = {"method": method, "path": target, "headers": headers, "body": body.decode("utf-8", "replace")}
        text = json.dumps(told, indent=2).encode() + b"\n"
        lines = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        writer.write(lines.encode() + (b"" if method == "HEAD" else text))
        await writer.drain()


async def _head(reader: asyncio.StreamReader) -> Head | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    pairs = [line.partition(":") for line in lines[1:]]
    return method, target, [(name, value.strip()) for name, _, value in pairs]


async def _body(reader: asyncio.StreamReader, headers: list[tuple[str, str]]) -> bytes:
    fields = {name.lower(): value for name, value in headers}
    if fields.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(fields.get("content-length", "0")))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM_HEAD)
    for tick in range(1, TICKS + 1):
        event = b"event: tick\ndata: %d\n\n" % tick
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(TICK)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


class SupervisedEcho:
    """The echo upstream as a child of the supervisor."""

    def __init__(self, channel: AsyncChannel) -> None:
        self.channel = channel
        self.echo = Echo()
        self.started = time.monotonic()
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve the socket of the boot message until told to drain, or until the supervisor has gone."""
        boot = await self.channel.receive()
        if boot is None:
            return
        listener = socket.socket(fileno=boot["listeners"][0]["fd"])
        server = await asyncio.start_server(self.echo.serve, sock=listener, limit=MAX_HEAD)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        self.channel.send({"type": "ready"})
        listening = asyncio.create_task(self._listen())
        await self.stopping.wait()
        server.close()
        listening.cancel()
        self.channel.send({"type": "drained"})

    async def _listen(self) -> None:
        while (message := await self.channel.receive()) is not None:
            match message["type"]:
                case "ask":
                    self.channel.send({"type": "answer", "id": message["id"], "body": self._report()})
                case "reload":
                    version = json.loads(message["snapshot"])["version"]
                    self.channel.send({"type": "reloaded", "version": version})
                case "drain":
                    break
        self.stopping.set()

    def _report(self) -> dict[str, Any]:
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "pid": os.getpid(),
            "age": time.monotonic() - self.started,
            "rss": rss,
            "in_flight": self.echo.in_flight,
            "requests": self.echo.served,
        }


async def _supervised(fd: int) -> None:
    await SupervisedEcho(AsyncChannel(socket.socket(fileno=fd))).run()


async def _alone(port: int) -> None:
    server = await asyncio.start_server(Echo().serve, "127.0.0.1", port, limit=MAX_HEAD)
    print(f"echo listens on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main(arguments: list[str]) -> int:
    """Run as a command; 2 when the arguments are wrong."""
    match arguments:
        case ["--channel", fd] if fd.isdigit():
            asyncio.run(_supervised(int(fd)))
        case [port] if port.isdigit():
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_alone(int(port)))
        case _:
            print("usage: python -m portico.testing.echo PORT", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
