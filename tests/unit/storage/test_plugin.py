"""The plugin: what it provides, its health, its end; over real files."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.storage.kit import Store
from tests.unit.storage.usage.kit import row

from portico import contracts
from portico.errors import PluginError
from portico.kernel.container import ServiceContainer
from portico.kernel.lifecycle import Lifecycle
from portico.kernel.plugin import ReportsHealth
from portico.storage.accounts import Changes, Invitations, Keys, NewKey, People, Sessions, SigningKeys
from portico.storage.database import Database
from portico.storage.plugin import StoragePlugin
from portico.storage.tables.usage import DAY, HOUR, MINUTE
from portico.storage.usage import Ranks, Recent, Retention, Usage, rollup
from portico.storage.vault import Vault

PROVIDED = (Vault, Database, Keys, People, Sessions, Invitations, SigningKeys, Changes, Usage, Ranks, Recent, Retention)


def container(data_dir: Path, url: str = "sqlite:///portico.db") -> ServiceContainer:
    """What the services process offers to every plugin."""
    server = contracts.Server(())
    services = ServiceContainer()
    services.provide(contracts.Boot, contracts.Boot(str(data_dir)))
    services.provide(contracts.Snapshot, contracts.Snapshot(1, "x", server, storage=contracts.Storage(url)))
    return services


def test_it_provides_what_it_opens(tmp_path: Path) -> None:
    async def work() -> None:
        services = container(tmp_path)
        plugin = StoragePlugin({})
        assert isinstance(plugin, ReportsHealth)
        lifecycle = Lifecycle([plugin], services)
        await lifecycle.start()
        assert all(services.has(kind) for kind in PROVIDED)
        record, _ = await services.get(Keys).issue(NewKey("a"))
        assert await services.get(Keys).find(record.sha256) == record
        health = await plugin.health()
        assert health.ok
        assert health.detail.startswith("sqlite answered in ")
        await lifecycle.stop()
        await plugin.stop()

    asyncio.run(work())


def test_upkeep_removes_usage_as_the_configuration_says(tmp_path: Path) -> None:
    async def work() -> None:
        services = container(tmp_path)
        plugin = StoragePlugin({})
        lifecycle = Lifecycle([plugin], services)
        await lifecycle.start()
        now = int(time.time())
        rows = [row(now), row(now - 8 * DAY), row(now - 91 * DAY), row(now - 1830 * DAY)]
        async with services.get(Database).write() as session:
            await rollup.take(session, [{"kind": "usage", "rows": rows}])
        assert plugin.assembly is not None
        await plugin.assembly.tidy()
        usage = services.get(Usage)
        numbers = await usage.callers("a", "one")
        for span, left in ((MINUTE, 1), (HOUR, 2), (DAY, 3)):
            assert len(await usage.series(numbers, span, 0, now + DAY)) == left
        await lifecycle.stop()

    asyncio.run(work())


def test_it_starts_again_on_what_it_left(tmp_path: Path) -> None:
    async def once() -> int:
        services = container(tmp_path)
        lifecycle = Lifecycle([StoragePlugin({})], services)
        await lifecycle.start()
        await services.get(Keys).issue(NewKey("a"))
        count = len(await services.get(Keys).prefixes()) // 8
        await lifecycle.stop()
        return count

    assert [asyncio.run(once()) for _ in range(3)] == [1, 2, 3]


def test_a_database_that_can_not_be_used_stops_the_start_in_one_sentence(postgres_url: str, tmp_path: Path) -> None:
    async def work() -> None:
        await Lifecycle([StoragePlugin({})], container(tmp_path, postgres_url)).start()

    with pytest.raises(PluginError, match="run `portico db upgrade`"):
        asyncio.run(work())


def test_health_says_what_is_wrong(postgres_url: str, tmp_path: Path) -> None:
    with Store(postgres_url, tmp_path):
        pass

    async def work() -> None:
        services = container(tmp_path, postgres_url)
        plugin = StoragePlugin({})
        lifecycle = Lifecycle([plugin], services)
        await lifecycle.start()
        assert (await plugin.health()).ok
        await services.get(Database).close()
        health = await plugin.health()
        assert (health.ok, health.detail) == (False, "the database is not open")
        await lifecycle.stop()

    asyncio.run(work())


def test_what_is_outdated_is_tidied(tmp_path: Path) -> None:
    async def work() -> None:
        from portico.storage.assembly import Assembly

        services = container(tmp_path)
        assembly = await Assembly.make(services.get(contracts.Boot), services.get(contracts.Snapshot))
        await assembly.start()
        try:
            ann = await assembly.people.create("ann@example.com")
            session, _ = await assembly.sessions.begin(ann, lifetime=0.001)
            await asyncio.sleep(0.01)
            await assembly.tidy()
            assert await assembly.sessions.get(session.id) is None
        finally:
            await assembly.stop()
            await assembly.stop()

    asyncio.run(work())


def test_its_module_loads_nothing_heavy() -> None:
    program = """
import sys
import portico.storage.plugin
heavy = {"sqlalchemy", "alembic", "aiosqlite", "sqlcipher3", "asyncpg", "cryptography", "argon2", "pydantic"}
found = heavy & {name.split(".")[0] for name in sys.modules}
assert not found, found
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
