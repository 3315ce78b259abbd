"""The plugin of shared state in a container, with a Redis that goes and comes."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from tests.services import private_redis
from tests.unit.state.stores import run, until

from portico import contracts
from portico.kernel.container import ServiceContainer
from portico.kernel.plugin import ReportsHealth
from portico.state import Store
from portico.state.cache import JSON, Cache
from portico.state.plugin import StatePlugin


async def plugin(url: str) -> tuple[StatePlugin, Store, Cache]:
    """A started plugin and what it provides."""
    services = ServiceContainer()
    server = contracts.Server(listen=())
    services.provide(contracts.Snapshot, contracts.Snapshot(1, "", server, state=contracts.State(url, 0.05)))
    made = StatePlugin({})
    await made.initialize(services)
    services.seal()
    await made.start()
    return made, services.get(Store), services.get(Cache)  # type: ignore[type-abstract]


def test_in_memory() -> None:
    async def scene() -> None:
        made, store, cache = await plugin("memory://")
        assert isinstance(made, ReportsHealth)
        assert (await made.health()).ok
        assert await store.incr("n", 60.0) == 1
        kind = cache.kind("k", 60.0, codec=JSON, most=1024 * 1024)
        for number in range(40):  # more than the cache may hold
            await kind.put(str(number), "x" * 1_000_000)
        assert await kind.get("39") is not None
        assert await kind.get("0") is None
        assert await store.get("n") == b"1", "results push out no counter"
        await made.stop()
        await made.stop()

    run(scene())


def test_on_redis() -> None:
    async def scene() -> None:
        with private_redis() as server:
            made, store, cache = await plugin(server.url)
            await until(lambda: store.health().ok)
            health = await made.health()
            assert health.ok
            assert "answers in" in health.detail
            kind = cache.kind("k", 60.0, codec=JSON)
            assert await kind.put("a", [1])
            server.kill()
            await until(lambda: not store.health().ok)
            health = await asyncio.wait_for(made.health(), 1.0)
            assert not health.ok
            assert str(server.port) in health.detail
            assert await kind.get("a") is None
            await asyncio.to_thread(server.start)
            await until(lambda: store.health().ok)
            assert (await made.health()).ok
            await made.stop()
            await made.stop()
            assert not (await made.health()).ok

    run(scene())


def test_a_half_done_start_can_be_stopped() -> None:
    async def scene() -> None:
        made = StatePlugin({})
        await made.stop()
        services = ServiceContainer()
        snapshot = contracts.Snapshot(1, "", contracts.Server(listen=()), state=contracts.State("redis://127.0.0.1:1"))
        services.provide(contracts.Snapshot, snapshot)
        await made.initialize(services)
        await made.stop()

    run(scene())


@pytest.mark.parametrize(
    ("imported", "without"),
    [
        ("portico.state, portico.state.plugin", "redis pydantic aiohttp sqlalchemy fastapi structlog cryptography"),
        ("portico.state.redis, portico.state.memory, portico.state.cache", "redis pydantic aiohttp sqlalchemy fastapi"),
        ("portico.outbound", "aiohttp yarl pydantic fastapi"),
        ("portico.services.auth.issuers", "aiohttp cryptography jwt sqlalchemy"),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(imported: str, without: str) -> None:
    code = f"import sys, {imported}; print([name for name in {without.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_it_says_what_is_missing() -> None:
    code = """
import asyncio, sys
from importlib.machinery import PathFinder

class Hidden(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "redis" else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Hidden if each is PathFinder else each for each in sys.meta_path]
from portico import contracts
from portico.state import make
try:
    asyncio.run(make(contracts.State("redis://127.0.0.1:1")).start())
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("PluginError")
    assert "portico[redis]" in done.stdout
