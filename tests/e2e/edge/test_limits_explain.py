"""`explain --live` shows what is left of a key's own limits and of the route's, wherever they are counted."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.e2e.api import BEHIND_PROXY, Api, somewhere

from portico.testing import FakeUpstream, GatewayHarness


def steps(gateway: GatewayHarness, key: str) -> dict[str, Any]:
    told = gateway.cli("explain", "--live", "--json", "GET", "/x", "-H", f"Authorization: Bearer {key}")
    assert told.returncode == 0, told.stdout + told.stderr
    assert key not in told.stdout
    return {step["policy"]: step for step in json.loads(told.stdout)["steps"]}


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_a_key_s_limits_and_the_route_s(upstream: FakeUpstream, request: pytest.FixtureRequest, kind: str) -> None:
    limits = [{"window": "50/hour", "by": "key"}, {"rate": "1/hour", "burst": 40, "by": "key"}, {"concurrent": 9}]
    config: dict[str, Any] = {
        "server": BEHIND_PROXY,
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [{"name": "all", "paths": ["/x"], "upstream": "up", "auth": ["api_key"], "limits": limits}],
    }
    if kind == "redis":
        config["server"] = {**BEHIND_PROXY, "workers": 2}
        config["state"] = {"url": request.getfixturevalue("redis_url"), "wait": "1s"}
    with GatewayHarness(config) as gateway:
        api = Api(gateway, somewhere())
        key = api.key(rate_limit_per_minute=30, rate_limit_per_day=100)["key"]
        found = steps(gateway, key)
        assert found["auth"]["outcome"] == "passes", "no worker has seen it yet"
        for _ in range(7):
            assert api.send("GET", "/x", key).status == 200
        for _ in range(2):  # and a look spends nothing
            found = steps(gateway, key)
            told = "\n".join(why for step in found.values() for why in step["why"])
            assert 'RateLimit: "30/minute";r=22;t=' in told
            assert 'RateLimit: "100/day";r=92;t=' in told
            assert 'RateLimit: "50/hour";r=42;t=' in told
            assert 'RateLimit: "1/hour";r=32;t=' in told
            assert 'RateLimit: "concurrent-9";r=8' in told
            assert all(found[name]["outcome"] == "passes" for name in ("auth", "key_limits", "window", "rate"))
        deadline = time.monotonic() + 20
        while found["key_limits"]["outcome"] != "answers":  # the worker that is asked may hold a lease
            assert time.monotonic() < deadline
            while api.send("GET", "/x", key).status == 200:
                pass
            found = steps(gateway, key)
        assert found["key_limits"]["code"] == "window_exceeded"
        unknown = steps(gateway, "pk_" + "x" * 40)
        assert unknown["auth"]["code"] == "credentials_unknown"
