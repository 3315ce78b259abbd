"""Dependencies are seen by whoever may know, with latency and last error; the loss of one stops nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.services import PrivateRedis, private_redis

from portico.testing import GatewayHarness, wait_for


def admin(gateway: GatewayHarness) -> dict[str, str]:
    return {"X-API-Key": (gateway.data_dir / "gateway_token").read_text().strip()}


def told(gateway: GatewayHarness) -> dict[str, Any]:
    return dict(gateway.request("GET", "/health", admin(gateway)).json())


def state(gateway: GatewayHarness, name: str) -> dict[str, Any]:
    return dict(told(gateway)["dependencies"].get(name, {"status": "not seen yet"}))


@pytest.fixture
def redis() -> Any:
    with private_redis() as server:
        yield server


def test_database_and_shared_state_with_latency_and_last_error(postgres_url: str, redis: PrivateRedis) -> None:
    config = {"storage": {"url": postgres_url}, "state": {"url": redis.url}}
    with GatewayHarness(config, wait=False) as gateway:
        assert gateway.process is not None
        gateway.process.wait(20)
        assert "run `portico db upgrade`" in gateway.output(), "an old schema is told, not changed by a start"
        where = ["-c", str(gateway.config_path), "--data-dir", str(gateway.data_dir)]
        assert gateway.cli("db", "upgrade", *where).returncode == 0
        gateway.start()
        gateway.wait_ready()
        wait_for(lambda: state(gateway, "database")["status"] == state(gateway, "state")["status"] == "ok", 10)
        known = told(gateway)
        assert known["status"] == "ok"
        for each in known["dependencies"].values():
            assert 0 <= each["latency_ms"] < 1000
            assert each["last_error"] is None
        assert set(gateway.request("GET", "/health").json()) == {"status"}, "anyone else is told no more"

        redis.kill()
        wait_for(lambda: state(gateway, "state")["status"] == "down", 15)
        assert told(gateway)["status"] == "degraded"
        assert gateway.request("GET", "/health/ready").status == 200, "routes go on without it"
        detailed = gateway.request("GET", "/api/v1/admin/status", admin(gateway)).json()
        assert (detailed["status"], detailed["details"]["state"]["status"]) == ("degraded", "down")
        assert detailed["details"]["state"]["last_error"]
        shown = gateway.cli("status", *where).stdout
        assert "state    down, " in shown
        assert "database ok, " in shown

        redis.start()
        wait_for(lambda: state(gateway, "state")["status"] == "ok", 15)
        assert state(gateway, "state")["last_error"], "what failed last is still told"
        assert "last error: " in gateway.cli("status", *where).stdout
        text = json.dumps(told(gateway)) + gateway.output()
        assert postgres_url not in text
