"""Sends requests at a fixed rate, whether or not earlier ones were answered, and measures each from the moment when it
should have been sent. Run as a process of its own; prints one JSON object. With `--burn` it also calls the services'
/api/v1/burn on that port ten times a second.

select() waits with a resolution of microseconds; the event loops of asyncio and uvloop round up to a millisecond.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Final

CONNECTIONS: Final = 64
WARM: Final = 0.3  # seconds at the beginning that are not counted
PATIENCE: Final = 5.0  # for the last answers
HEAD: Final = (
    "GET %s HTTP/1.1\r\nHost: api.example.org\r\nX-API-Key: %s\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    "Accept: application/json\r\nAccept-Language: en-GB,en;q=0.7\r\nReferer: https://app.example.org/dashboard\r\n"
    "Cookie: session=3f1e9a7c5b2d4860; theme=dark\r\nX-Client-Version: web/4.18.2\r\n"
    "traceparent: 00-4bf92f3577b34da6a3ce%012x-00f067aa0ba902b7-01\r\n\r\n"
)


POST: Final = (
    "POST %s HTTP/1.1\r\nHost: api.example.org\r\nX-API-Key: %s\r\nContent-Type: application/json\r\n"
    "Content-Length: %d\r\n\r\n"
)


class Connection:
    """One kept-alive connection: idle, or waiting for one answer."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.sock = socket.create_connection(("127.0.0.1", lane.port), 5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.intended = 0.0
        self.buffer = b""

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, intended: float, number: int) -> None:
        self.intended = intended
        self.sock.sendall(self.lane.message(number))

    def read(self) -> bool:
        """Whether the answer is complete. RuntimeError when it is not a 200 or the connection ends."""
        data = self.sock.recv(65536)
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if not data or (end > 0 and not self.buffer.startswith(b"HTTP/1.1 200")):
            raise RuntimeError(f"{self.lane.path}: {self.buffer[:60]!r}")
        if end < 0:
            return False
        length = int(self.buffer[:end].lower().partition(b"content-length:")[2].partition(b"\r")[0])
        if len(self.buffer) < end + 4 + length:
            return False
        self.buffer = b""
        return True


class Lane:
    """Requests for one path at one rate, over connections of its own; with a `body`, that is posted."""

    def __init__(
        self, port: int, path: str, key: str, rate: float, connections: int = CONNECTIONS, body: bytes = b""
    ) -> None:
        self.port, self.path, self.key = port, path, key
        self.posted = (POST % (path, key, len(body))).encode() + body if body else b""
        self.interval = 1 / rate
        self.connections = [Connection(self) for _ in range(connections)]
        self.idle = deque(self.connections)
        self.waiting: deque[float] = deque()
        self.due = time.perf_counter() + 0.05
        self.number = 0
        self.latencies: list[tuple[float, float]] = []  # when it should have been sent, seconds until answered
        self.late: list[float] = []  # how long after that this program got round to it

    def advance(self, now: float, end: float) -> None:
        """Send what is due."""
        while self.due <= now and self.due < end:
            self.waiting.append(self.due)
            self.late.append(now - self.due)
            self.due += self.interval
        while self.waiting and self.idle:
            self.number += 1
            self.idle.popleft().send(self.waiting.popleft(), self.number)

    def message(self, number: int) -> bytes:
        """The request of that number."""
        return self.posted or (HEAD % (self.path, self.key, number)).encode()

    def answered(self, connection: Connection) -> None:
        """Take the answer's time; the connection is idle again."""
        self.latencies.append((connection.intended, time.perf_counter() - connection.intended))
        self.idle.append(connection)

    @property
    def busy(self) -> bool:
        return bool(self.waiting) or len(self.idle) < len(self.connections)


def run(lanes: list[Lane], seconds: float) -> None:
    """Keep every lane at its rate for `seconds`, then wait for the last answers."""
    end = time.perf_counter() + seconds
    sockets = [connection for lane in lanes for connection in lane.connections]
    while (now := time.perf_counter()) < end or any(lane.busy for lane in lanes):
        if now > end + PATIENCE:
            raise RuntimeError("no answer")
        for lane in lanes:
            lane.advance(now, end)
        pause = min((lane.due for lane in lanes if lane.due < end), default=now + 0.01) - time.perf_counter()
        readable, _, _ = select.select(sockets, [], [], max(pause, 0.0))
        for connection in readable:
            if connection.read():
                connection.lane.answered(connection)


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p99, p99.9 (nearest rank) and the most, in milliseconds."""
    ordered = sorted(values)
    last = len(ordered) - 1
    found = {name: ordered[min(last, int(share * len(ordered)))] * 1000 for name, share in SHARES.items()}
    return {**found, "most_ms": ordered[-1] * 1000}


SHARES: Final = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/users/1")
    parser.add_argument("--key", required=True)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--burn", type=int, default=0)
    parser.add_argument("--body", type=Path)
    options = parser.parse_args(arguments)
    body = options.body.read_bytes() if options.body else b""
    lanes = [Lane(options.port, options.path, options.key, options.rate, options.connections, body)]
    if options.burn:
        lanes.append(Lane(options.burn, "/api/v1/burn", options.key, 10, 8))
    began = lanes[0].due
    gc.disable()
    run(lanes, options.seconds + WARM)
    counted = [took for intended, took in lanes[0].latencies if intended - began >= WARM]
    late = percentiles(lanes[0].late)
    result = {**percentiles(counted), "late_p99_ms": late["p99_ms"], "requests": len(counted)}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
