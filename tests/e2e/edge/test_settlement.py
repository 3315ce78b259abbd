"""However exchanges end, nothing stays behind: in flight, slots of limits, connections, waiting, outstanding."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.edge.faulty import config_of, upstreams_of
from tests.integration.test_supervisor_reload import install

from portico.testing import GatewayHarness
from portico.testing.harness import free_port
from portico.testing.upstream import wait_for

SLOTS = 40
ENDINGS = {
    "ok": 6, "chunked": 3, "until-close": 1, "slow": 2, "503": 2, "dies": 2, "dies-midway": 1, "garbage": 1,
    "half-head": 1, "unsolicited": 1, "silent": 1, "stalls": 1, "closes": 1, "early": 1, "interim": 1,
}  # fmt: skip
CLIENTS = {"reads": 10, "leaves": 3, "leaves-soon": 3, "half-head": 1, "uploads": 3, "half-upload": 2, "bad-chunk": 1,
           "too-large": 1, "bad-head": 1, "pipelines": 1, "unread": 1, "raises": 1, "raises-late": 1,
           "websocket": 2}  # fmt: skip
UPGRADE = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

RAISING = """
from portico.contracts import VALIDATE
from portico.edge.exchange import Step
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType, PolicySpec

def check(exchange):
    if exchange.path.endswith(b"/raises"):
        raise ValueError("on purpose")

def settle(exchange):
    if exchange.path.endswith(b"/raises-late"):
        raise ValueError("on purpose, late")

def build(config, context):
    return Step("raising", VALIDATE, check, settle=settle)

class Plugin(BasePlugin):
    info = PluginInfo("raising", PluginType.MIDDLEWARE)
    def policies(self):
        return [PolicySpec("raising", VALIDATE, 100, "portico_raising:build")]
"""
ANSWERS = {
    "ok": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "slow": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "until-close": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "503": b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno",
    "dies-midway": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
    "garbage": b"\x00\x01 what?\r\n\r\n",
    "half-head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "unsolicited": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "stalls": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
    "closes": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "early": b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
}
STAYS = {"ok", "chunked", "slow", "503", "unsolicited", "early", "interim"}


class Upstream:
    """An upstream that ends each exchange as the request's X-Ending says."""

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            while await self._one(reader, writer):
                pass
        writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        ending = head.partition(b"X-Ending: ")[2].partition(b"\r\n")[0].decode()
        self.endings[ending] += 1
        if b"Upgrade: websocket" in head:
            await self._websocket(ending, reader, writer)
            return False
        if ending != "early":
            await self._body(head, reader)
        if ending == "slow":
            await asyncio.sleep(0.02)
        writer.write(ANSWERS.get(ending, b""))
        if ending in ("silent", "stalls"):
            await asyncio.wait_for(reader.read(), 5.0)
        elif ending == "until-close":
            writer.close()
            await writer.wait_closed()
        return ending in STAYS

    async def _websocket(self, ending: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A tunnel that either side ends, or that falls silent; or the upstream refuses to switch."""
        if ending in ("503", "garbage", "half-head"):
            writer.write(ANSWERS[ending])
            return
        self.endings["tunnel"] += 1
        writer.write(SWITCHING)
        while ending != "dies" and (data := await asyncio.wait_for(reader.read(1000), 5.0)):
            writer.write(data)
            if ending == "closes":
                break

    async def _body(self, head: bytes, reader: asyncio.StreamReader) -> None:
        if b"Transfer-Encoding: chunked" in head:
            while (line := await reader.readuntil(b"\r\n")) != b"0\r\n":
                await reader.readexactly(int(line, 16) + 2)
            await reader.readexactly(2)
        elif b"Content-Length: " in head:
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))


class Client:
    """Exchanges with endings by chance, each on a connection of its own."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.chance = random.Random(seed)
        self.statuses: Counter[str] = Counter()

    async def run(self, count: int, width: int) -> None:
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await self._one()

        await asyncio.gather(*(work() for _ in range(width)))

    async def _one(self) -> None:
        way = self.chance.choices(list(CLIENTS), list(CLIENTS.values()))[0]
        ending = self.chance.choices(list(ENDINGS), list(ENDINGS.values()))[0]
        route = self.chance.choice(["one", "two", "dead", "tight"])
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await self._send(way, f"/{route}/{way}", ending, writer)
            if way == "websocket":
                await self._talk(reader, writer)
            if way == "leaves-soon":
                await asyncio.sleep(self.chance.random() * 0.03)
            elif way not in ("leaves", "half-head", "half-upload", "websocket"):
                answer = await asyncio.wait_for(reader.read(-1 if way != "unread" else 10), 10.0)
                self.statuses[answer[9:12].decode() or "nothing"] += 1
        finally:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say something in a tunnel, if there is one, and sometimes leave without a word."""
        status = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10.0))[9:12]
        self.statuses[status.decode()] += 1
        if status == b"101" and self.chance.random() < 0.7:
            writer.write(b"hello")
            if self.chance.random() < 0.5:
                await asyncio.wait_for(reader.readexactly(5), 10.0)

    async def _send(self, way: str, path: str, ending: str, writer: asyncio.StreamWriter) -> None:
        fields = f"Host: a\r\nX-Ending: {ending}\r\nConnection: close\r\n"
        head = f"GET {path} HTTP/1.1\r\n{fields}"
        post = f"POST {path} HTTP/1.1\r\n{fields}"
        kept = head.replace("Connection: close\r\n", "")
        sent = {
            "half-head": head,
            "uploads": f"{post}Content-Length: 3000\r\n\r\n" + "x" * 3000,
            "half-upload": f"{post}Content-Length: 3000\r\n\r\n" + "x" * 300,
            "bad-chunk": f"{post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "too-large": f"{post}Content-Length: 5000\r\n\r\n" + "x" * 200,
            "bad-head": f"GET {path} HTTP/1.1\r\nHost : a\r\n\r\n",
            "websocket": f"{head.replace('Connection: close', 'Connection: Upgrade')}{UPGRADE}\r\n",
            "pipelines": f"{kept}\r\n" * 3 + f"{head}\r\n",
        }.get(way, f"{head}\r\n")
        if way == "uploads":  # in pieces
            writer.write(sent[:200].encode())
            await asyncio.sleep(self.chance.random() * 0.01)
            sent = sent[200:]
        writer.write(sent.encode())
        if way == "bad-chunk":
            await asyncio.sleep(0.005)
            writer.write(b"nonsense\r\n")


def settings(ports: list[int]) -> dict[str, Any]:
    """One upstream of two targets, one of one, a dead one, and one with few connections."""
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    common: dict[str, Any] = {"timeouts": {"first_byte": "300ms", "idle": "300ms", "connect": "1s"}}
    flow = {**common, "breaker": {"min_requests": 1_000_000}, "retries": {"budget": "50%", "attempts": 2}}
    eager = {**common, "breaker": {"min_requests": 5, "open_for": "50ms"}}
    specs = {
        "one": flow,
        "two": eager,
        "dead": common,
        "tight": {**flow, "pool": {"max_connections": 4, "max_idle": 1}},
    }
    dead = f"http://127.0.0.1:{free_port()}"
    config = config_of(specs, {"one": urls[:1], "two": urls, "dead": [dead], "tight": urls[:1]})
    for route in config["routes"]:
        route["body_bytes"] = 4000
        route["policies"] = {"raising": {}}
        route["limits"] = [{"concurrent": SLOTS, "by": "client"}]
    return {**config, "plugins": {"raising": {}}}


def rest(gateway: GatewayHarness) -> list[str]:
    """What is not at rest."""
    (edge,) = [process for process in gateway.status()["processes"] if process["role"] == "edge"]
    wrong = [f"{name}: {edge[name]}" for name in ("in_flight", "connections") if edge[name]]
    for upstream in upstreams_of(gateway):
        for target in upstream["targets"]:
            busy = [target["outstanding"], target["opening"], target["waiting"], target["open"] - target["idle"]]
            if any(busy) and upstream["name"] != "@services":
                wrong.append(f"{upstream['name']}: {target}")
    return wrong


async def well(port: int, path: str) -> None:
    """Return when the targets take requests again: the endings may have opened a breaker."""
    good = 0
    for _ in range(200):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Ending: ok\r\nContent-Length: 1\r\n\r\nx".encode())
        good = good + 1 if (await reader.read(12)).endswith(b"200") else 0
        writer.transport.abort()
        if good == 5:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} never became well")


async def slots(port: int, path: str) -> tuple[int, int]:
    """How many requests at a time a route takes, and what the next one gets."""
    held = []
    for _ in range(SLOTS + 1):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Ending: ok\r\nContent-Length: 5\r\n\r\nh".encode())
        held.append((reader, writer))
    reads = [asyncio.ensure_future(reader.read(12)) for reader, _ in held]
    done, waiting = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED, timeout=5.0)
    status = int(done.pop().result()[9:12])
    for read in waiting:
        read.cancel()
    for _, writer in held:
        writer.transport.abort()
    return len(waiting), status


def unexpected(gateway: GatewayHarness) -> list[str]:
    """Errors in the gateway's log that no test asked for."""
    return [line for line in gateway.output().splitlines() if "Traceback" in line and "on purpose" not in line]


def settled(mode: bool, count: int, seed: int, folder: Path) -> None:
    async def drive() -> None:
        upstreams = [Upstream(), Upstream()]
        servers = [await asyncio.start_server(each.serve, "127.0.0.1", 0, backlog=1024) for each in upstreams]
        config = settings([server.sockets[0].getsockname()[1] for server in servers])
        install(folder, "raising", RAISING)
        with GatewayHarness(
            config, compiled=mode, env={"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}
        ) as gateway:
            client = Client(gateway.port, seed)
            await client.run(count, 50)
            await asyncio.to_thread(wait_for, lambda: not rest(gateway), 10.0)
            for path in ("/one/", "/two/"):
                await well(gateway.port, path)
                assert await slots(gateway.port, path) == (SLOTS, 429)
            await asyncio.to_thread(wait_for, lambda: not rest(gateway), 10.0)
            assert {"101", "200", "500", "502", "503", "504", "413", "400"} <= set(client.statuses), client.statuses
            assert set(upstreams[0].endings) == {*ENDINGS, "tunnel"}
            assert unexpected(gateway) == []
            assert "on purpose, late" in gateway.output()
        for server in servers:
            server.close()

    asyncio.run(drive())


def test_after_two_thousand_endings_nothing_stays_behind(mode: bool, tmp_path: Path) -> None:
    settled(mode, 2000, 1, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_after_a_hundred_thousand_endings_nothing_stays_behind(mode: bool, tmp_path: Path) -> None:
    settled(mode, 100_000, 2, tmp_path)
