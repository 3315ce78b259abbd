"""Webhooks: deliveries a second of one services process, held to one core, to a receiver that answers at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from load import Run
from portico.jobs.handler import Handler, Handlers
from portico.jobs.jobs import Jobs
from portico.jobs.wake import Wake
from portico.outbound import Client
from portico.services.webhooks.assembly import QUEUE
from portico.services.webhooks.emitter import KIND, Emitter
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database
from portico.storage.webhooks import Deliveries, Endpoints, Secrets
from portico.testing import GatewayHarness
from servers import Watch

ENDPOINTS: Final = 4
EVENTS: Final = 1000  # for each of them
BATCH: Final = 250  # events in one transaction of whoever emits
DATA: Final = {"text": "x" * 200}
OWNER: Final = "key:bench"
TENANT: Final = "bench"
PATIENCE: Final = 120.0  # seconds
TICKS: Final = os.sysconf("SC_CLK_TCK")
CONFIG: Final = {"outbound": {"allow": ["127.0.0.1/32"]}}


def measure(rounds: int) -> dict[str, list[Run]]:
    """The runs, by what was measured."""
    found: list[Run] = []
    for _ in range(rounds):
        found.append(once())
        each = found[-1]
        print(f"  {each['deliveries_per_second']:,.0f} deliveries/s, {each['cpu_ms']:.2f} ms each", flush=True)
    return {"portico": found}


def once() -> Run:
    """Deliveries a second from the first that arrives to the last, and CPU time of the services for each."""
    with GatewayHarness(CONFIG) as gateway, _receiver() as (process, port):
        pid = next(each["pid"] for each in gateway.status()["processes"] if each["role"] == "services")
        os.sched_setaffinity(pid, {min(os.sched_getaffinity(pid))})
        before = _cpu(pid)
        with Watch() as watch:
            asyncio.run(_emit(gateway.data_dir, port))
            assert process.stdout is not None
            seconds = float(process.stdout.readline())
        count = ENDPOINTS * EVENTS
        return {
            "deliveries_per_second": count / seconds,
            "cpu_ms": (_cpu(pid) - before) / count * 1000,
            "foreign": watch.foreign,
        }


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextlib.contextmanager
def _receiver() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


async def _emit(folder: Path, port: int) -> None:
    """Register the endpoints, and emit as a service would, in transactions on the gateway's database."""
    vault = Vault.open(folder, None)
    db = Database("sqlite:///portico.db", folder, vault.key("database"))
    await open_database(vault, db)
    secrets = Secrets(vault)
    endpoints = Endpoints(db, secrets)
    handlers = Handlers()
    handlers.add([Handler(KIND, _elsewhere, QUEUE)], "webhooks")
    jobs = Jobs(db, handlers, Wake(db))
    emitter = Emitter(Client(), endpoints, Deliveries(db, endpoints, secrets), jobs)
    for number in range(ENDPOINTS):
        url = f"http://127.0.0.1:{port}/{number}"
        await endpoints.register(TENANT, OWNER, url, ["detection_complete"], 3, b"k" * 32)
    for _ in range(EVENTS // BATCH):
        async with db.write() as session:
            for _ in range(BATCH):
                await emitter.emit(session, TENANT, OWNER, "detection_complete", dict(DATA))
    await db.close()


async def _elsewhere(_: Any) -> None:
    raise AssertionError("the gateway delivers")


class _Receiving(asyncio.Protocol):
    """Answers every request at once, and counts."""

    def __init__(self, counted: list[float]) -> None:
        self._counted = counted
        self._data = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            length = int(self._data[:end].lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            self._counted.append(time.perf_counter())
            assert self._transport is not None
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def receive() -> None:
    """What the receiver's process does: tell the port, then how long all of them took to come."""
    counted: list[float] = []
    server = await asyncio.get_running_loop().create_server(lambda: _Receiving(counted), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    deadline = time.perf_counter() + PATIENCE
    while len(counted) < ENDPOINTS * EVENTS and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    print(counted[-1] - counted[0] if len(counted) >= ENDPOINTS * EVENTS else "nan", flush=True)
    await asyncio.sleep(PATIENCE)


if __name__ == "__main__":
    import uvloop

    uvloop.run(receive())
