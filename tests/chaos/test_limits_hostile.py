"""Eight workers and three keys: callers that hoard leases and spend them together, stick to one worker, or come seldom.

And what Redis is asked for it: one call for each decision or lease, and nothing is kept for ever.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import redis as client
from tests.chaos.load import Outcome
from tests.chaos.test_limits_redis import worst
from tests.services import PrivateRedis, private_redis

from portico.edge.limits.parts import HOT
from portico.testing import FakeUpstream, GatewayHarness, Reader
from portico.testing.client import request_bytes

pytestmark = pytest.mark.long  # nine processes take their time to start; test_limits_shared has the short form

WORKERS = 8
BURST = 320
LEASE = BURST // (4 * WORKERS)
RATE = 20.0  # a second
KEYS = ("a", "b", "c")
CONNECTIONS = 40


@pytest.fixture(scope="module")
def redis() -> Iterator[PrivateRedis]:
    with private_redis() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(redis: PrivateRedis) -> Iterator[GatewayHarness]:
    kinds = {"rate": {"rate": "20/second", "burst": BURST}, "window": {"window": f"{BURST}/minute"},
             "quota": {"quota": f"{BURST}/day"}, "slots": {"concurrent": 5}}  # fmt: skip
    with FakeUpstream() as upstream:
        config = {
            "server": {"workers": WORKERS},
            "state": {"url": redis.url, "wait": "1s"},  # a busy machine is not what is tested here
            "upstreams": {"up": {"targets": [upstream.url]}},
            "routes": [
                {"name": name, "paths": [f"/{name}"], "upstream": "up",
                 "limits": [{**limit, "by": "header:X-Who", "on_store_failure": "closed"}]}
                for name, limit in kinds.items()
            ],
        }  # fmt: skip
        with GatewayHarness(config) as harness:
            yield harness


def ask(sock: socket.socket, path: str, who: str, number: int) -> list[Outcome]:
    """So many requests on one connection, sent together."""
    head = request_bytes("GET", path, "gate", {"X-Who": who, "Connection": "keep-alive"})
    began = time.monotonic()
    sock.sendall(head * number)
    reader = Reader(sock)
    statuses = [(reader.answer().status, time.monotonic()) for _ in range(number)]
    return [Outcome(began, ended, status) for status, ended in statuses]


def together(socks: list[socket.socket], path: str, number: int) -> dict[str, list[Outcome]]:
    """All connections at once, each with a third of its requests for each key."""
    found: dict[str, list[Outcome]] = {who: [] for who in KEYS}
    ready = threading.Barrier(len(socks))

    def run(sock: socket.socket) -> None:
        ready.wait(10)
        for who in KEYS:
            found[who].extend(ask(sock, path, who, number))

    threads = [threading.Thread(target=run, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def test_leases_that_are_hoarded_and_spent_together(gateway: GatewayHarness) -> None:
    with ExitStack() as stack:
        socks = [stack.enter_context(closing(gateway.connect())) for _ in range(CONNECTIONS)]
        found: dict[str, list[Outcome]] = {who: [] for who in KEYS}
        for number in (HOT + 2, 12, 12):  # every worker takes leases; then, as the bucket has refilled, all is spent
            for who, outcomes in together(socks, "/rate", number).items():
                found[who] += [each for each in outcomes if each.status == 200]
                assert {each.status for each in outcomes} <= {200, 429}
            time.sleep(0.35)  # not a lease's life
        edges = [each for each in gateway.status()["processes"] if each["role"] == "edge"]
        assert sum(each["requests"] > 0 for each in edges) == WORKERS, "a worker that nobody asks proves nothing"
    for who in KEYS:
        assert worst(found[who], BURST, RATE) <= 0, who
        assert len(found[who]) >= BURST - WORKERS * LEASE, "and what is allowed is granted"


def test_a_client_that_sticks_to_one_worker(gateway: GatewayHarness) -> None:
    with closing(gateway.connect()) as sock:
        granted = [each for each in ask(sock, "/rate", "sticks", 2 * BURST) if each.status == 200]
    assert len(granted) >= BURST - WORKERS * LEASE
    assert worst(granted, BURST, RATE) <= 0


def test_a_key_that_comes_seldom_is_counted_exactly(gateway: GatewayHarness) -> None:
    for path in ("/window", "/quota"):
        told = Counter[int]()
        for _ in range(BURST + 30):  # each on another connection: on no worker often
            told[gateway.request("GET", path, {"X-Who": "seldom"}).status] += 1
        assert BURST - WORKERS * LEASE <= told[200] <= BURST


def calls(redis: client.Redis) -> int:
    """How many scripts were run."""
    stats: Any = redis.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))


def test_one_call_for_each_decision_or_lease_and_a_time_to_live_on_everything(
    gateway: GatewayHarness, redis: PrivateRedis
) -> None:
    beats = 2 * WORKERS  # a second
    with closing(client.Redis.from_url(redis.url)) as store, closing(gateway.connect()) as sock:
        began, before = time.monotonic(), calls(store)
        for number in range(100):  # cold: one each
            assert gateway.request("GET", "/rate", {"X-Who": f"cold{number}"}).status == 200
        spent = calls(store) - before
        assert 100 <= spent <= 100 + beats * (time.monotonic() - began + 1.0)
        began, before = time.monotonic(), calls(store)
        granted = [each for each in ask(sock, "/window", "hot", BURST) if each.status == 200]
        spent = calls(store) - before
        most = HOT + len(granted) / LEASE + WORKERS * LEASE
        assert spent <= most + beats * (time.monotonic() - began + 1.0), "hot: one for each lease, and one for the rest"
        ask(sock, "/slots", "one", 3)
        ask(sock, "/quota", "one", 30)
        kept = list(store.scan_iter(count=1000))
        assert len(kept) > 100
        pipe = store.pipeline(transaction=False)
        for key in kept:
            pipe.pttl(key)
        lives = dict(zip(kept, pipe.execute(), strict=True))
        assert {key: left for key, left in lives.items() if left == -1} == {}, "kept for ever"
