"""A revoked key ends on every worker within a second, whichever stores there are and whatever happens to them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest
from tests.e2e.api import BEHIND_PROXY, running, within
from tests.e2e.edge.test_callers_workers import WORKERS, Workers
from tests.services import PrivateRedis, private_redis

from portico.testing import FakeUpstream
from portico.testing.client import Reader, request_bytes


def config(upstream: FakeUpstream, **more: Any) -> dict[str, Any]:
    return {
        "server": {**BEHIND_PROXY, "workers": WORKERS, "services": {"processes": 2}},
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [{"name": "keyed", "paths": ["/keyed/*"], "upstream": "up", "auth": ["api_key", "jwt"]}],
        **more,
    }


@pytest.fixture(scope="module")
def on_postgresql(shared_upstream: FakeUpstream) -> Iterator[Workers]:
    with running("postgresql", config(shared_upstream)) as api, ExitStack() as stack:
        yield Workers(api.gateway, stack)


@pytest.fixture(scope="module")
def redis() -> Iterator[PrivateRedis]:
    with private_redis() as server:
        yield server


@pytest.fixture(scope="module")
def with_redis(shared_upstream: FakeUpstream, redis: PrivateRedis) -> Iterator[Workers]:
    settings = config(shared_upstream, state={"url": redis.url})
    with running("sqlite", settings) as api, ExitStack() as stack:
        yield Workers(api.gateway, stack)


def revoked(workers: Workers, before: Callable[[], Any] = lambda: None) -> None:
    """A key is revoked right after `before`."""
    made = workers.api.key()

    def revoke() -> None:
        before()
        workers.api.good("DELETE", f"/api/v1/admin/keys/{made['id']}", workers.api.admin)

    workers.refused(made["key"], "credentials_unknown", revoke)


def cut_the_listeners(url: str) -> int:
    """End the connections over which the services are notified; how many there were."""

    async def cut() -> int:
        connection = await asyncpg.connect(url)
        try:
            return int(
                await connection.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            )
        finally:
            await connection.close()

    return asyncio.run(cut())


def test_with_postgresql_alone(on_postgresql: Workers) -> None:
    revoked(on_postgresql)


def test_with_postgresql_whose_message_is_lost(on_postgresql: Workers) -> None:
    import yaml

    text = on_postgresql.api.gateway.config_path.read_text()
    url = yaml.safe_load(text)["storage"]["url"]
    revoked(on_postgresql, lambda: cut_the_listeners(url) or pytest.fail("nobody listened"))


def test_with_redis(with_redis: Workers) -> None:
    revoked(with_redis)


def test_with_a_redis_whose_connections_are_cut(with_redis: Workers, redis: PrivateRedis) -> None:
    import redis as client

    with client.Redis.from_url(redis.url) as connection:
        revoked(with_redis, lambda: connection.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))


def test_with_a_redis_that_is_gone(with_redis: Workers, redis: PrivateRedis) -> None:
    revoked(with_redis, redis.kill)
    redis.start()


@pytest.mark.parametrize("seconds", [1.5, pytest.param(5.0, marks=pytest.mark.long)])
def test_workers_that_were_paused_refuse_before_their_first_answer(with_redis: Workers, seconds: float) -> None:
    """All workers stand still while the key is revoked; what reaches them meanwhile is answered after they wake."""
    api = with_redis.api
    made = api.key()
    within(2.0, lambda: set(with_redis.codes(made["key"])) == {""})
    edges = [each["pid"] for each in api.gateway.status()["processes"] if each["role"] == "edge"]
    for pid in edges:
        os.kill(pid, signal.SIGSTOP)
    try:
        fields = {"Authorization": f"Bearer {made['key']}", "Connection": "keep-alive"}
        head = request_bytes("GET", "/keyed/x", "gate", fields)
        done = api.gateway.cli("keys", "revoke", made["id"], "--data-dir", str(api.gateway.data_dir))
        assert done.returncode == 0, done.stdout + done.stderr
        for sock in with_redis.socks:
            sock.sendall(head)
        time.sleep(seconds)  # what was heard before is older than a second
    finally:
        for pid in edges:
            os.kill(pid, signal.SIGCONT)
    codes = {str(Reader(sock).answer().json().get("code")) for sock in with_redis.socks}
    assert codes == {"credentials_unknown"}
