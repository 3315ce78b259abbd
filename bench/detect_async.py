"""Detection in batches and in the background: what one services process, held to one core, takes in and gets done.

Run as a program it is the client: it keeps connections open, sends at a fixed rate (or as fast as it is answered), and
measures each request from the moment when it should have been sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final, cast

from load import Run
from portico.testing import GatewayHarness
from servers import Watch

TEXT: Final = "Please summarise the minutes of our last meeting, and list who promised what until when. " * 5
RATE: Final = 1000.0  # a second
SECONDS: Final = 3.0
WARM: Final = 1.0  # seconds at that rate before anything is measured
CONNECTIONS: Final = 64
BATCHES: Final = 20
BATCH: Final = 100
AT_ONCE: Final = 2  # batches
PATIENCE: Final = 120.0  # seconds
TICKS: Final = os.sysconf("SC_CLK_TCK")
ASYNC: Final = "/v1/detect/async"
MANY: Final = "/v1/detect/batch"


def measure(rounds: int) -> dict[str, list[Run]]:
    """The runs, by what was measured."""
    found: dict[str, list[Run]] = {"accepted at 1,000/s": [], "accepted, at most": [], "batches of 100": []}
    for turn in range(rounds):
        with GatewayHarness({}) as gateway, Watch() as watch:
            pid = next(each["pid"] for each in gateway.status()["processes"] if each["role"] == "services")
            os.sched_setaffinity(pid, {min(os.sched_getaffinity(pid))})
            key = _key(gateway)
            _sent(gateway.port, key, pid, ASYNC, RATE, int(RATE * WARM), CONNECTIONS)
            _drained(gateway, pid)
            for name, rate in (("accepted at 1,000/s", RATE), ("accepted, at most", 0.0)):
                run = _sent(gateway.port, key, pid, ASYNC, rate, int(RATE * SECONDS), CONNECTIONS)
                began, before = time.perf_counter(), _cpu(pid)
                _drained(gateway, pid)
                run["left_seconds"] = time.perf_counter() - began
                run["left_cpu_ms"] = (_cpu(pid) - before) * 1000
                found[name].append(run)
            run = _sent(gateway.port, key, pid, MANY, 0.0, BATCHES, AT_ONCE)
            run["texts_per_second"] = run["per_second"] * BATCH
            found["batches of 100"].append(run)
        for name, runs in found.items():
            runs[-1]["foreign"] = watch.foreign
            shown = ", ".join(f"{what} {value:,.2f}" for what, value in runs[-1].items())
            print(f"  {turn + 1}/{rounds}  {name}: {shown}", flush=True)
    return found


def _key(gateway: GatewayHarness) -> str:
    admin = (gateway.data_dir / "gateway_token").read_text().strip()
    wanted = {"name": "bench", "permissions": ["detect:use"], "rate_limit_per_minute": 0, "rate_limit_per_day": 0}
    fields = {"Authorization": f"Bearer {admin}", "Content-Type": "application/json"}
    made = gateway.request("POST", "/api/v1/admin/keys", fields, json.dumps(wanted))
    return str(json.loads(made.body)["key"])


def _sent(port: int, key: str, pid: int, path: str, rate: float, count: int, connections: int) -> Run:
    """What the client measured, and CPU time of the services for each request."""
    command = [sys.executable, __file__, str(port), key, path, str(rate), str(count), str(connections)]
    before = _cpu(pid)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE + 60, check=True)
    run: Run = json.loads(done.stdout)
    return {**run, "cpu_ms": (_cpu(pid) - before) / count * 1000}


def _drained(gateway: GatewayHarness, pid: int) -> None:
    """Until no detection waits."""
    admin = (gateway.data_dir / "gateway_token").read_text().strip()
    fields = {"Authorization": f"Bearer {admin}"}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = [
            gateway.request("GET", f"/api/v1/admin/jobs?kind=detection.judge&state={state}&limit=1", fields).json()
            for state in ("queued", "running")
        ]
        if not any(each["items"] for each in found):
            return
        time.sleep(0.1)
    raise RuntimeError("detections are not done")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class _Client(asyncio.Protocol):
    """One kept connection: idle, or waiting for one answer."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._buffer = b""
        self._intended = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def send(self, request: bytes, intended: float) -> None:
        assert self._transport is not None
        self._intended = intended
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
        if len(self._buffer) < end + 4 + length:
            return
        self._buffer = b""
        self._load.answered(self, self._intended, head.split(b" ", 2)[1] in (b"200", b"202"))


class _Load:
    """So many requests over some connections."""

    def __init__(self, request: bytes, rate: float, count: int) -> None:
        self._request = request
        self._interval = 1 / rate if rate else 0.0
        self._left = count
        self._wanted = count
        self._idle: deque[_Client] = deque()
        self._due: deque[float] = deque()
        self.latencies: list[float] = []
        self.failed = 0
        self.over = asyncio.Event()

    async def run(self, port: int, connections: int) -> float:
        """Seconds from the first request to the last answer."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", port)
            self._idle.append(client)
        began = time.perf_counter()
        if not self._interval:
            self._due.extend([0.0] * self._left)
            self._left = 0
            self._go()
        while self._left:
            now = time.perf_counter()
            while self._left and began + (self._wanted - self._left) * self._interval <= now:
                self._due.append(began + (self._wanted - self._left) * self._interval)
                self._left -= 1
            self._go()
            await asyncio.sleep(0.0005)
        await asyncio.wait_for(self.over.wait(), PATIENCE)
        return time.perf_counter() - began

    def _go(self) -> None:
        while self._due and self._idle:
            self._idle.popleft().send(self._request, self._due.popleft() or time.perf_counter())

    def answered(self, client: _Client, intended: float, good: bool) -> None:
        """One answer has come."""
        self.latencies.append(time.perf_counter() - intended)
        self.failed += not good
        self._idle.append(client)
        self._go()
        if len(self.latencies) == self._wanted:
            self.over.set()


async def client(port: int, key: str, path: str, rate: float, count: int, connections: int) -> dict[str, Any]:
    """Send them all: how many a second, and percentiles in ms."""
    asked: Any = {"text": TEXT, "metadata": {"user": "u-4711"}}
    if path == MANY:
        asked = {"requests": [{"id": str(number), "text": f"{number} {TEXT}"} for number in range(BATCH)]}
    body = json.dumps(asked).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    load = _Load(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body, rate, count)
    seconds = await load.run(port, connections)
    if load.failed:
        raise RuntimeError(f"{load.failed} of {count} were refused")
    ordered = sorted(load.latencies)
    found = {f"p{share}_ms": ordered[min(count - 1, count * share // 100)] * 1000 for share in (50, 99)}
    return {"per_second": count / seconds, **found}


if __name__ == "__main__":
    import uvloop

    port, key, path, rate, count, connections = sys.argv[1:]
    answer = uvloop.run(client(int(port), key, path, float(rate), int(count), int(connections)))
    print(json.dumps(answer))
