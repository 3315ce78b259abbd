"""Limits of four workers: counted together through Redis; and quotas of one worker, which outlive it."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import Counter
from typing import Any

import redis

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Reader


def routes(*limits: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "all", "paths": ["/*"], "upstream": "up", "limits": list(limits)}]


def config(upstream: FakeUpstream, url: str, workers: int, *limits: dict[str, Any]) -> dict[str, Any]:
    return {
        "server": {"workers": workers},
        "state": {"url": url, "wait": "1s"},  # a busy machine is not what is tested here
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": routes(*limits),
    }


def statuses(gateway: GatewayHarness, number: int, path: str = "/") -> Counter[int]:
    """Each on a connection of its own, so that all workers take part."""
    return Counter(gateway.request("GET", path).status for _ in range(number))


def scripts(store: redis.Redis) -> int:
    """How many were run."""
    stats: Any = store.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))


def served(gateway: GatewayHarness) -> list[int]:
    return [each["requests"] for each in gateway.status()["processes"] if each["role"] == "edge"]


def test_four_workers_grant_together_what_one_would(mode: bool, upstream: FakeUpstream, redis_url: str) -> None:
    limits = {
        "rate": {"rate": "1/hour", "burst": 45},
        "window": {"window": "45/hour"},
        "quota": {"quota": "45/day"},
        "large": {"rate": "1/hour", "burst": 120},  # of which workers lease
    }
    wanted = config(upstream, redis_url, 4)
    wanted["routes"] = [
        {"name": name, "paths": [f"/{name}"], "upstream": "up", "limits": [{**limit, "on_store_failure": "closed"}]}
        for name, limit in limits.items()
    ]
    with GatewayHarness(wanted, compiled=mode) as gateway:
        store = redis.Redis.from_url(redis_url)
        began, before, asked = time.monotonic(), scripts(store), 0
        for name in limits:
            most = 45 if name != "large" else 120
            granted = statuses(gateway, most + 20, f"/{name}")[200]
            asked += most + 20
            assert granted <= most
            assert granted == 45 if name != "large" else granted >= 120 - 4 * 7, name
        assert sum(count > 0 for count in served(gateway)) >= 2, "one worker alone proves nothing"
        beats = 4 * 2 * (time.monotonic() - began + 1.0)
        assert scripts(store) - before <= asked + beats, "one call for each decision or lease"
        kept = [*store.scan_iter(count=1000)]
        assert len(kept) >= len(limits) + 2
        assert [key for key in kept if store.pttl(key) == -1] == [], "nothing is kept for ever"
        store.close()


def test_slots_are_counted_over_workers(mode: bool, upstream: FakeUpstream, redis_url: str) -> None:
    wanted = config(upstream, redis_url, 4, {"concurrent": 5, "by": "client"})
    with GatewayHarness(wanted, compiled=mode) as gateway:
        held = [gateway.connect() for _ in range(8)]
        for sock in held:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        deadline = time.monotonic() + 10
        while len(select.select(held, [], [], 0.1)[0]) < 3:  # three are refused at once
            assert time.monotonic() < deadline
        assert gateway.request("GET", "/").status == 429
        for sock in held:
            sock.sendall(b"cd")
        told = []
        for sock in held:
            told.append(Reader(sock).answer().status)
            sock.close()
        assert Counter(told) == {200: 5, 429: 3}
        deadline = time.monotonic() + 10
        while gateway.request("GET", "/").status != 200:
            assert time.monotonic() < deadline


def test_a_reload_and_a_restart_keep_what_was_counted(mode: bool, upstream: FakeUpstream, redis_url: str) -> None:
    wanted = config(upstream, redis_url, 2, {"window": "20/hour", "by": "client"})
    quota = {"limits": [{"quota": "12/day", "by": "client"}], "name": "daily", "paths": ["/daily"], "upstream": "up"}
    wanted["routes"].append(quota)
    with GatewayHarness(wanted, compiled=mode) as gateway:
        assert statuses(gateway, 8) == {200: 8}
        assert statuses(gateway, 8, "/daily") == {200: 8}
        gateway.rewrite({**wanted, "data_dir": str(gateway.data_dir), "log": {"level": "debug"}})
        gateway.reload()
        assert statuses(gateway, 8) == {200: 8}
        assert gateway.stop() == 0
        gateway.start()
        assert statuses(gateway, 8) == {200: 4, 429: 4}
        assert statuses(gateway, 8, "/daily") == {200: 4, 429: 4}


def test_a_quota_of_one_worker_outlives_it(mode: bool, upstream: FakeUpstream) -> None:
    """In memory: a stop loses nothing; a kill at most the last second."""
    wanted = {
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": routes({"quota": "20/day", "by": "client"}),
    }
    with GatewayHarness(wanted, compiled=mode) as gateway:
        assert statuses(gateway, 8) == {200: 8}
        assert gateway.stop() == 0
        gateway.start()
        assert statuses(gateway, 8) == {200: 8}
        time.sleep(1.5)  # what was counted over a second ago is written
        (edge,) = [each["pid"] for each in gateway.status()["processes"] if each["role"] == "edge"]
        os.kill(edge, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while [
            each["pid"] for each in gateway.status()["processes"] if each["role"] == "edge" and each["state"] == "ready"
        ] in (
            [],
            [edge],
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert statuses(gateway, 8) == {200: 4, 429: 4}


def test_explain_shows_what_all_workers_have_counted(mode: bool, upstream: FakeUpstream, redis_url: str) -> None:
    limits = ({"window": "20/hour", "by": "client"}, {"concurrent": 3, "by": "client"})
    with GatewayHarness(config(upstream, redis_url, 3, *limits), compiled=mode) as gateway:
        assert statuses(gateway, 8) == {200: 8}
        told = gateway.cli("explain", "--live", "--json", "GET", "/", "--client", "127.0.0.1")
        assert told.returncode == 0, told.stderr
        steps = {step["policy"]: step for step in json.loads(told.stdout)["steps"]}
        assert any('RateLimit: "20/hour";r=11;t=' in why for why in steps["window"]["why"]), steps
        assert steps["concurrent"]["outcome"] == "passes"
        assert statuses(gateway, 14) == {200: 12, 429: 2}, "a look spends nothing"
        told = gateway.cli("explain", "--live", "--json", "GET", "/", "--client", "127.0.0.1")
        answer = json.loads(told.stdout)["answer"]
        assert answer["code"] == "window_exceeded"
