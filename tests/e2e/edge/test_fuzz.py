"""Broken requests from clients that come and go, broken answers from upstreams: the edge forgets nothing of them."""

from __future__ import annotations

import contextlib
import random
import threading
import time

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.upstream import Connection, Request, response

REQUESTS = [
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /w HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nabc",
    b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"HEAD /h HTTP/1.0\r\n\r\n",
]
ANSWERS = [
    response(body=b"hello"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nbody",
    b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nxyz",
]
PIECES = [b"\r\n", b"\x00", b"\n", b":", b" ", b"chunked", b"0\r\n\r\n"]


def broken(chance: random.Random, data: bytes) -> bytes:
    """`data` with up to five wounds, often none."""
    wounded = bytearray(data)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 5])):
        if not wounded:
            break
        at = chance.randrange(len(wounded))
        kind = chance.randrange(4)
        if kind == 0:
            wounded[at] = chance.randrange(256)
        elif kind == 1:
            del wounded[at : at + chance.randrange(1, 6)]
        elif kind == 2:
            wounded[at:at] = chance.choice(PIECES)
        else:
            del wounded[at:]
    return bytes(wounded)


class Liar:
    """An upstream's handler whose answers are as broken as the requests, in pieces, and often end early."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def __call__(self, request: Request, connection: Connection) -> None:
        chance = self.chance
        data = broken(chance, chance.choice(ANSWERS))
        at = chance.randrange(len(data) + 1)
        connection.send(data[:at])
        if chance.random() < 0.2:
            time.sleep(0.002)
        connection.send(data[at:])
        end = chance.random()
        if end < 0.2:
            connection.close()
        elif end < 0.4:
            connection.reset()


def client(gateway: GatewayHarness, seed: int, count: int) -> None:
    chance = random.Random(seed)
    for _ in range(count):
        data = b"".join(broken(chance, chance.choice(REQUESTS)) for _ in range(chance.randrange(1, 4)))
        at = chance.randrange(len(data) + 1)
        with contextlib.suppress(OSError), gateway.connect(1) as sock:
            sock.sendall(data[:at])
            if chance.random() < 0.2:
                time.sleep(0.003)
            sock.sendall(data[at:])
            if chance.random() < 0.6:
                sock.settimeout(0.05)
                sock.recv(65536)


@pytest.mark.parametrize("count", [100, pytest.param(2500, marks=pytest.mark.long)])
def test_nothing_is_left_behind(mode: bool, count: int) -> None:
    with FakeUpstream(Liar(1), expect=lambda *_: None) as upstream:
        config = {
            "upstreams": {"u": {"targets": [upstream.url], "timeouts": {"first_byte": "300ms", "idle": "300ms"}}},
            "routes": [
                {"name": "r", "paths": ["/*"], "upstream": "u", "limits": [{"concurrent": 1000, "by": "client"}]}
            ],
        }
        with GatewayHarness(config, compiled=mode) as gateway:
            threads = [threading.Thread(target=client, args=(gateway, seed, count), daemon=True) for seed in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            deadline = time.monotonic() + 6
            while (edge := edge_of(gateway))["in_flight"] or edge["connections"]:
                assert time.monotonic() < deadline, edge
                time.sleep(0.1)
            assert edge["restarts"] == 0
            assert edge["requests"] > count
            assert "Traceback" not in gateway.output()
            assert '"level": "error"' not in gateway.output()
            assert gateway.request("GET", "/health").status == 200


def edge_of(gateway: GatewayHarness) -> dict[str, int]:
    return next(each for each in gateway.status()["processes"] if each["role"] == "edge")
