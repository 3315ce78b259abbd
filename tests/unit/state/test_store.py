"""Both stores keep the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.unit.state.stores import opened, run, until

from portico.errors import StateUnavailable
from portico.state import Script, Store, Table
from portico.state.store import LARGEST, Reply


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


def test_values_live_as_long_as_they_were_given(url: str) -> None:
    async def scene() -> None:
        async with opened(url) as store:
            assert await store.get("a") is None
            assert await store.set("a", b"\x00\xff\r\n", 60.0) is True
            assert await store.get("a") == b"\x00\xff\r\n"
            await store.set("short", b"1", 0.1)
            assert await store.get("short") == b"1"
            while await store.get("short") is not None:
                await asyncio.sleep(0.01)
            assert await store.delete("a", "short", "never") == 1
            assert await store.get("a") is None
            assert await store.delete() == 0

    run(asyncio.wait_for(scene(), 5))


def test_only_new_leaves_what_is_there(url: str) -> None:
    async def scene() -> None:
        async with opened(url) as store:
            assert await store.set("lock", b"mine", 0.1, only_new=True) is True
            assert await store.set("lock", b"yours", 60.0, only_new=True) is False
            assert await store.get("lock") == b"mine"
            while not await store.set("lock", b"yours", 60.0, only_new=True):
                await asyncio.sleep(0.01)
            assert await store.get("lock") == b"yours"

    run(asyncio.wait_for(scene(), 5))


def test_a_counter_counts_and_ends(url: str) -> None:
    async def scene() -> None:
        async with opened(url) as store:
            assert sorted(await asyncio.gather(*(store.incr("n", 60.0) for _ in range(50)))) == list(range(1, 51))
            assert await store.incr("n", 60.0, by=-50) == 0
            assert await store.incr("brief", 0.3) == 1
            while await store.incr("brief", 60.0) != 1:  # its life began with the first, and no later one prolongs it
                await asyncio.sleep(0.02)
            await store.set("text", b"abc", 60.0)
            with pytest.raises(StateUnavailable):
                await store.incr("text", 60.0)

    run(asyncio.wait_for(scene(), 5))


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), float("inf")])
def test_what_has_no_end_is_not_taken(url: str, ttl: float) -> None:
    async def scene() -> None:
        async with opened(url) as store:
            with pytest.raises(ValueError):
                await store.set("a", b"1", ttl)
            with pytest.raises(ValueError):
                await store.incr("a", ttl)
            with pytest.raises(ValueError):
                await store.set("a", bytes(LARGEST + 1), 1.0)
            assert await store.get("a") is None

    run(scene())


def _swap(table: Table, keys: Sequence[str], args: Sequence[bytes]) -> Reply:
    old = table.get(keys[0])
    if old != args[0]:
        return [0, old]
    table.set(keys[0], args[1], int(args[2]) / 1000)
    return [1, old]


SWAP = Script(
    "swap",
    """
    local old = redis.call('GET', KEYS[1])
    if old ~= ARGV[1] then return {0, old} end
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return {1, old}
    """,
    _swap,
)


def test_scripts_run_as_one_step(url: str) -> None:
    async def scene() -> None:
        async with opened(url) as store:
            store.register(SWAP)
            store.register(SWAP)
            with pytest.raises(ValueError):
                store.register(Script("swap", "return 1", _swap))
            await store.set("k", b"1", 60.0)
            assert await store.script("swap", ["k"], ["2", b"3", 60_000]) == [0, b"1"]
            answers = await asyncio.gather(*(store.script("swap", ["k"], [1, f"w{i}", 60_000]) for i in range(20)))
            assert [each[0] for each in answers if isinstance(each, list)].count(1) == 1
            assert await store.get("k") == b"w0"

    run(scene())


def test_messages_reach_who_listens(url: str) -> None:
    async def scene() -> None:
        async with opened(url) as store, opened(url) as other:
            sender = other if store.is_shared else store
            got: list[bytes] = []
            broken = await store.subscribe("news", _fails)
            first = await store.subscribe("news", got.append)
            await store.subscribe("elsewhere", lambda message: got.append(b"wrong"))
            await sender.publish("news", b"1")
            await until(lambda: got == [b"1"])
            second = await store.subscribe("news", got.append)
            await until(lambda: not store.is_shared or second.live.is_set())  # type: ignore[attr-defined]
            first.cancel()
            first.cancel()
            await sender.publish("news", b"2")
            await until(lambda: got == [b"1", b"2"])
            second.cancel()
            broken.cancel()
            await sender.publish("news", b"3")
            await sender.publish("elsewhere", b"")
            await until(lambda: got[-1] == b"wrong")
            assert got == [b"1", b"2", b"wrong"]

    run(scene())


def _fails(message: bytes) -> None:
    raise RuntimeError("a handler that fails must not keep others from their messages")


def test_it_says_that_it_is_well_and_stops_twice(url: str) -> None:
    async def scene() -> None:
        store: Store
        async with opened(url) as store:
            assert 0 <= await store.ping() < 0.05
            assert store.health().ok
            assert store.health().error == ""
            await store.stop()

    run(scene())
