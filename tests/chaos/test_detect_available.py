"""Detection goes on while its engine, Redis and the gateway's own processes are restarted under load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.chaos.load import Load
from tests.chaos.upstream_process import UpstreamProcess
from tests.e2e.engine import HARMLESS, configured
from tests.services import PrivateRedis, private_redis

from portico.identity.keys import hash_key
from portico.testing import GatewayHarness

STUB = Path(__file__).parents[2] / "bench" / "engine.py"
KEY = "the-key-of-a-client"
SERVED = 0.999  # of the requests
FEW = 150


@pytest.mark.parametrize("count", [FEW, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_an_engine_s_a_redis_s_and_a_rolling_restart_cost_next_to_nothing(count: int) -> None:
    with UpstreamProcess((str(STUB),), "1") as stub, private_redis() as redis:
        keys = [{"id": "client", "sha256": hash_key(KEY), "permissions": ["detect:use"]}]
        config = {**configured({"main": stub.url}), "state": {"url": redis.url}, "keys": keys}
        fields = {"X-API-Key": KEY, "Content-Type": "application/json"}
        body = json.dumps({"text": HARMLESS}).encode()
        with (
            GatewayHarness(config) as gateway,
            Load(gateway, "/v1/detect", kept=4, fresh=2, method="POST", headers=fields, body=body) as load,
        ):
            load.more(count)
            for server in (stub, redis):
                restart(server, load, count)
            assert gateway.cli("restart").returncode == 0
            load.more(count)
            load.stop()
            assert load.count >= 5 * count
            assert len(load.failed()) <= (1 - SERVED) * load.count, load.failed()[:5]
            assert all(each.status != 500 for each in load.outcomes)


def restart(server: UpstreamProcess | PrivateRedis, load: Load, count: int) -> None:
    server.kill()
    load.more(count // 2)
    server.start()
    load.more(count // 2)
