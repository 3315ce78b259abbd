"""Four workers, one limit, and a Redis that stops, dies, forgets and comes back: never more than the limit allows."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.chaos.load import Load, Outcome
from tests.services import PrivateRedis, private_redis

from portico.testing import FakeUpstream, GatewayHarness

BURST = 160  # with four workers: leases of ten
RATE = 20.0  # a second
MOST = 150
APART = 0.25  # seconds between the moments at which workers notice that the store has gone or is back; 0.05 when idle
STORE_AWAY = 503


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with private_redis() as server:
        yield server


@pytest.fixture
def gateway(redis: PrivateRedis) -> Iterator[GatewayHarness]:
    def route(name: str, **limit: Any) -> dict[str, Any]:
        return {"name": name, "paths": [f"/{name}"], "upstream": "up", "limits": [{"by": "route", **limit}]}

    with FakeUpstream() as upstream:
        config = {
            "server": {"workers": 4},
            "state": {"url": redis.url},
            "upstreams": {"up": {"targets": [upstream.url]}},
            "routes": [
                route("share", rate="20/second", burst=BURST),
                route("closed", rate="20/second", burst=BURST, on_store_failure="closed"),
                route("window", window=f"{MOST}/minute", on_store_failure="closed"),
                route("open", rate="20/second", burst=BURST, on_store_failure="open"),
                route("slots", concurrent=3),
                {"name": "free", "paths": ["/free"], "upstream": "up"},
            ],
        }
        with GatewayHarness(config) as harness:
            yield harness


def admitted(load: Load) -> list[Outcome]:
    return [each for each in load.outcomes if each.status == 200]


def worst(found: list[Outcome], burst: int, rate: float) -> float:
    """By how many the worst span has more than burst + rate · T of those that lie in it from begin to end."""
    most = -float(burst)
    ends = sorted(each.ended for each in found)
    for began in sorted({each.began for each in found}):
        inside = sorted(each.ended for each in found if each.began >= began)
        for count, ended in enumerate(inside, 1):
            most = max(most, count - burst - rate * (ended - began))
    assert ends, "nothing was admitted"
    return most


def pause(redis: PrivateRedis) -> None:
    assert redis.process is not None
    os.kill(redis.process.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(redis.process.pid, signal.SIGCONT)


def kill(redis: PrivateRedis) -> None:
    redis.kill()
    time.sleep(1.0)
    redis.start()


def slow(redis: PrivateRedis) -> None:
    """Each answer takes half a second, for two seconds."""
    import redis as client

    with closing(client.Redis.from_url(redis.url)) as connection:
        for _ in range(4):
            connection.execute_command("CLIENT", "PAUSE", "500", "ALL")
            connection.ping()


def flush(redis: PrivateRedis) -> None:
    import redis as client

    with closing(client.Redis.from_url(redis.url)) as connection:
        connection.flushall()


def scenes() -> list[Any]:
    """All of them; those that tell least beyond the others run with the long tests."""
    first = [(pause, "/share"), (kill, "/share"), (flush, "/closed")]
    rest = [(fault, path) for fault in (pause, kill, flush, slow) for path in ("/share", "/closed", "/window")]
    return [*first, *(pytest.param(*each, marks=pytest.mark.long) for each in rest if each not in first)]


@pytest.mark.parametrize(("fault", "path"), scenes())
def test_never_more_than_the_limit(
    gateway: GatewayHarness, redis: PrivateRedis, fault: Callable[[PrivateRedis], None], path: str
) -> None:
    with Load(gateway, path, kept=6, fresh=2, pause=0.002) as load:
        load.more(300)
        fault(redis)
        until = time.monotonic() + 4.0
        while time.monotonic() < until:
            load.more(10)
    assert load.failed(but=(429, STORE_AWAY)) == []
    found = admitted(load)
    if path == "/window":
        assert worst(found, MOST, 0.0) <= 0
        assert len(found) >= MOST * 3 // 4
    else:
        assert worst(found, BURST, RATE) <= (RATE * APART if path == "/share" else 0)
        after = [each for each in found if each.began > until - 1.0]
        assert len(after) >= RATE / 2, "and afterwards it goes on"
    if path == "/share":
        assert load.failed(but=(429,)) == [], "shared: no 503"


def test_the_chosen_mode_holds_while_redis_is_away(gateway: GatewayHarness, redis: PrivateRedis) -> None:
    assert gateway.request("GET", "/closed").status == 200
    redis.kill()
    deadline = time.monotonic() + 5
    while gateway.request("GET", "/closed").status != STORE_AWAY:
        assert time.monotonic() < deadline
    answer = gateway.request("GET", "/closed")
    assert answer.status == STORE_AWAY
    assert b'"limits_unavailable"' in answer.body
    assert answer.header("Retry-After") == "1"
    assert [gateway.request("GET", "/open").status for _ in range(2 * BURST)] == [200] * 2 * BURST
    redis.start()
    deadline = time.monotonic() + 10
    while gateway.request("GET", "/closed").status == STORE_AWAY:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nobody_waits_for_a_redis_that_does_not_answer(gateway: GatewayHarness, redis: PrivateRedis) -> None:
    """Once it is known to be away, limits cost no time; compared with what the same gateway took before."""

    def p99(seconds: float) -> float:
        with Load(gateway, "/open", kept=2, fresh=0, pause=0.001) as load:
            time.sleep(seconds)
        took = sorted(each.ended - each.began for each in load.outcomes)
        assert len(took) > 200
        return took[len(took) * 99 // 100]

    normal = p99(1.5)
    assert redis.process is not None
    os.kill(redis.process.pid, signal.SIGSTOP)
    with Load(gateway, "/open", kept=8, fresh=0) as load:
        time.sleep(1.0)
    assert load.failed() == []
    assert max(each.ended - each.began for each in load.outcomes) < 0.05 + 0.5, "state.wait, and a busy machine"
    assert p99(1.5) <= 2 * normal + 0.005
    os.kill(redis.process.pid, signal.SIGCONT)


def test_slots_of_a_killed_worker_are_free_again(gateway: GatewayHarness) -> None:
    upstream_waits = "/slots"
    pids = [each["pid"] for each in gateway.status()["processes"] if each["role"] == "edge"]
    with closing(gateway.connect()) as one, closing(gateway.connect()) as two, closing(gateway.connect()) as three:
        for sock in (one, two, three):  # a body that does not come holds the exchange open
            sock.sendall(b"POST " + upstream_waits.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
        deadline = time.monotonic() + 5
        while gateway.request("GET", "/slots").status != 429:
            assert time.monotonic() < deadline
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while True:
            try:
                if gateway.request("GET", "/slots").status == 200:
                    break
            except (OSError, ValueError):
                pass
            assert time.monotonic() < deadline
            time.sleep(0.05)
