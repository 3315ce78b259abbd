"""A gateway whose Redis dies and comes back: it starts, serves and says how things stand, all the while."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.services import private_redis

from portico.testing import GatewayHarness


def dependencies(gateway: GatewayHarness) -> dict[str, Any]:
    answer = gateway.request("GET", "/api/v1/public/status")
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.body)["dependencies"]
    return found


def until(gateway: GatewayHarness, state: str) -> None:
    deadline = time.monotonic() + 10
    while dependencies(gateway)["state"] != state:
        assert time.monotonic() < deadline, dependencies(gateway)
        time.sleep(0.05)


def test_redis_goes_and_comes_back_under_a_gateway() -> None:
    with private_redis() as server:
        server.kill()
        with GatewayHarness({"state": {"url": server.url}}) as gateway:
            gateway.wait_ready()
            assert dependencies(gateway)["state"] == "down"
            server.start()
            until(gateway, "ok")
            server.kill()
            until(gateway, "down")
            assert dependencies(gateway)["services"] == "ok"
            server.start()
            until(gateway, "ok")
            gateway.stop()
