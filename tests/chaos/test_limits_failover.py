"""Another Redis takes the place of the first, with a copy of all that it had: the buckets begin anew, used up."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import redis as client
from tests.chaos.load import Load
from tests.chaos.test_limits_redis import APART, BURST, RATE, admitted, worst
from tests.services import PrivateRedis, private_redis

from portico.testing import FakeUpstream, GatewayHarness

pytestmark = pytest.mark.long


class Door:
    """A TCP port that leads to one Redis, and after `lead` to another; who is connected is cut off."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lead(self, port: int) -> None:
        self._target = port
        for sock in self._open:
            with closing(sock), contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._listener.accept()
                outside = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue
            self._open += [inside, outside]
            threading.Thread(target=_pass, args=(inside, outside), daemon=True).start()


def _pass(one: socket.socket, other: socket.socket) -> None:
    pairs = {one: other, other: one}
    try:
        while True:
            for sock in select.select([one, other], [], [], 60.0)[0]:
                data = sock.recv(65536)
                if not data:
                    return
                pairs[sock].sendall(data)
    except (OSError, ValueError):
        return
    finally:
        for sock in pairs:
            sock.close()


@pytest.fixture
def servers() -> Iterator[tuple[PrivateRedis, PrivateRedis]]:
    """A server and its replica."""
    with private_redis() as first, private_redis() as second:
        with closing(client.Redis.from_url(second.url)) as replica:
            replica.replicaof("127.0.0.1", str(first.port))
            deadline = time.monotonic() + 20
            while replica.info("replication").get("master_link_status") != "up":
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield first, second


@pytest.mark.parametrize("mode", ["share", "closed"])
def test_a_replica_takes_over(servers: tuple[PrivateRedis, PrivateRedis], mode: str) -> None:
    first, second = servers
    with ExitStack() as stack:
        door = stack.enter_context(closing(Door(first.port)))
        upstream = stack.enter_context(FakeUpstream())
        limit = {"rate": "20/second", "burst": BURST, "by": "route", "on_store_failure": mode}
        config = {
            "server": {"workers": 4},
            "state": {"url": f"redis://127.0.0.1:{door.port}/0"},
            "upstreams": {"up": {"targets": [upstream.url]}},
            "routes": [{"name": "all", "paths": ["/"], "upstream": "up", "limits": [limit]}],
        }
        gateway = stack.enter_context(GatewayHarness(config))
        with Load(gateway, "/", kept=6, fresh=2, pause=0.002) as load:
            load.more(300)
            first.kill()
            with closing(client.Redis.from_url(second.url)) as replica:
                assert replica.dbsize() > 0, "it has what the first one had"
                replica.replicaof("NO", "ONE")
            door.lead(second.port)
            until = time.monotonic() + 6.0
            while time.monotonic() < until:
                load.more(10)
        assert load.failed(but=(429, 503)) == []
        found = admitted(load)
        assert worst(found, BURST, RATE) <= (RATE * APART if mode == "share" else 0)
        after = [each for each in found if each.began > until - 1.0]
        assert len(after) >= RATE / 2, "and afterwards it goes on"
