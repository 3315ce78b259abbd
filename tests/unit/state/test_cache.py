"""The cache, on both stores: one computation, no stale answer after an invalidation, never an error."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.unit.state.stores import opened, run, until

from portico.state import Store
from portico.state.cache import BYTES, JSON, MOST_TAGS, Cache, Kind
from portico.state.memory import Memory


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@asynccontextmanager
async def caches(url: str) -> AsyncIterator[tuple[Cache, Cache, Store]]:
    """Two processes' caches: on Redis each with a connection of its own, in memory on one table."""
    async with opened(url, 1.0) as store, opened(url, 1.0) as second:
        one, other = Cache(store), Cache(second if store.is_shared else store)
        yield one, other, store
        await one.stop()
        await other.stop()


class Work:
    """A computation that counts its runs, and waits when it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.answer = b"first"
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> bytes:
        self.runs += 1
        answer = self.answer
        await self.go.wait()
        return answer


def test_a_result_is_computed_once(url: str) -> None:
    async def scene() -> None:
        async with caches(url) as (one, other, _):
            work = Work()
            mine, theirs = (cache.kind("k", 60.0, codec=BYTES) for cache in (one, other))
            assert await mine.get("a") is None
            answers = await asyncio.gather(*(mine.get_or_compute("a", work) for _ in range(20)))
            assert answers == [b"first"] * 20
            assert await theirs.get_or_compute("a", work) == b"first"
            assert await theirs.get("a") == b"first"
            assert work.runs == 1
            assert (mine.counts.misses, mine.counts.joined, theirs.counts.hits) == (1, 19, 1)
            assert await mine.get_or_compute("b", work) == b"first"
            assert work.runs == 2

    run(scene())


def test_an_entry_ends(url: str) -> None:
    async def scene() -> None:
        async with caches(url) as (one, _, _):
            brief = one.kind("k", 0.1, codec=JSON)
            assert await brief.put("a", None) is True
            assert await brief.get_or_compute("a", _never) is None  # null is a result too
            while brief.counts.misses == 0:
                await brief.get_or_compute("a", _seven)
                await asyncio.sleep(0.01)
            assert await brief.get("a") == 7

    run(asyncio.wait_for(scene(), 5))


async def _never() -> int:
    raise AssertionError("it is in the cache")


async def _seven() -> int:
    return 7


@pytest.mark.parametrize("how", ["key", "tag", "kind", "flush"])
def test_what_is_invalidated_is_gone_everywhere(url: str, how: str) -> None:
    async def scene() -> None:
        async with caches(url) as (one, other, store):
            work = Work()
            mine, theirs = (cache.kind("k", 60.0, codec=BYTES) for cache in (one, other))
            await mine.get_or_compute("a", work, ["t", "user:2"])
            await mine.put("b", b"b", ["user:3"])
            work.answer = b"second"
            assert await theirs.get_or_compute("a", work, ["user:2", "t"]) == b"first"
            await _invalidate(one, mine, store, how)
            assert await theirs.get("a", ["t", "user:2"]) is None
            assert await mine.get_or_compute("a", work, ["t", "user:2"]) == b"second"
            assert await theirs.get_or_compute("a", work, ["t", "user:2"]) == b"second"
            kept = await theirs.get("b", ["user:3"])
            assert kept == (b"b" if how in ("key", "tag") else None)

    run(scene())


async def _invalidate(cache: Cache, kind: Kind[bytes], store: Store, how: str) -> None:
    if how == "key":
        assert await kind.invalidate("a")
    elif how == "tag":
        assert await cache.invalidate_tag("t")
    elif how == "kind":
        assert await kind.clear()
    elif isinstance(store, Memory):
        store.entries.clear()
    else:
        assert await store._link.call(b"FLUSHALL") == b"OK"  # type: ignore[attr-defined]


@pytest.mark.parametrize("by", ["same", "other"])
@pytest.mark.parametrize("how", ["key", "tag", "kind", "flush"])
def test_what_was_being_computed_does_not_come_back(url: str, how: str, by: str) -> None:
    async def scene() -> None:
        async with caches(url) as (one, other, store):
            work = Work()
            mine, theirs = (cache.kind("k", 60.0, codec=BYTES) for cache in (one, other))
            await mine.get_or_compute("warm", work, ["t"])
            work.go.clear()
            slow = asyncio.create_task(mine.get_or_compute("a", work, ["t"]))
            await until(lambda: work.runs == 2)
            await _invalidate(one if by == "same" else other, mine if by == "same" else theirs, store, how)
            fresh = Work()
            fresh.answer = b"second"
            if by == "same" and how != "flush":  # of that this process knows nothing
                assert await mine.get_or_compute("a", fresh, ["t"]) == b"second", "nobody waits for the old work"
            assert await theirs.get_or_compute("a", fresh, ["t"]) == b"second"
            work.go.set()
            assert await slow == b"first"
            assert await theirs.get_or_compute("a", fresh, ["t"]) == b"second"
            assert await mine.get_or_compute("a", fresh, ["t"]) == b"second"

    run(scene())


def test_other_tags_are_another_matter(url: str) -> None:
    async def scene() -> None:
        async with caches(url) as (one, _, _):
            kind = one.kind("k", 60.0, codec=BYTES)
            await kind.put("a", b"x", ["t", "u"])
            assert await kind.get("a", ["u", "t"]) == b"x"
            for tags in ([], ["t"], ["u"], ["t", "v"], ["t", "u", "v"]):
                assert await kind.get("a", tags) is None, tags
            with pytest.raises(ValueError):
                await kind.get("a", [str(number) for number in range(MOST_TAGS + 1)])

    run(scene())


def test_failures_reach_everyone_and_are_not_kept(url: str) -> None:
    async def scene() -> None:
        async with caches(url) as (one, _, _):
            kind = one.kind("k", 60.0, codec=BYTES)

            async def fail() -> bytes:
                await asyncio.sleep(0)
                raise LookupError("no engine")

            results = await asyncio.gather(*(kind.get_or_compute("a", fail) for _ in range(3)), return_exceptions=True)
            assert [type(result) for result in results] == [LookupError] * 3
            assert await kind.get_or_compute("a", Work()) == b"first"

    run(scene())


def test_a_caller_that_leaves_takes_nobody_along(url: str) -> None:
    async def scene() -> None:
        async with caches(url) as (one, _, _):
            kind = one.kind("k", 60.0, codec=BYTES)
            work = Work()
            work.go.clear()
            first, second, third = (asyncio.create_task(kind.get_or_compute("a", work)) for _ in range(3))
            await until(lambda: work.runs == 1)
            first.cancel()
            second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
            work.go.set()
            assert await third == b"first"

            await kind.invalidate("a")
            work.go.clear()
            last = asyncio.create_task(kind.get_or_compute("a", work))
            await until(lambda: work.runs == 2)
            last.cancel()
            joiner = asyncio.create_task(kind.get_or_compute("a", work))  # comes while the work is being cancelled
            await asyncio.gather(last, return_exceptions=True)
            await until(lambda: work.runs == 3)
            work.go.set()
            assert await joiner == b"first"

    run(scene())


def test_what_is_too_large_or_no_value_is_not_kept(url: str) -> None:
    async def scene() -> None:
        async with caches(url) as (one, _, store):
            small = one.kind("small", 60.0, codec=BYTES, most=10)
            assert await small.put("a", bytes(10)) is True
            assert await small.put("b", bytes(11)) is False
            assert await small.get("b") is None
            assert small.counts.refused == 1
            json = one.kind("json", 60.0, codec=JSON)
            for value in (object(), float("nan"), "\ud800"):
                assert await json.put("a", value) is False
            assert await json.put("a", {"ä": [1, None]}) is True
            assert await json.get("a") == {"ä": [1, None]}
            with pytest.raises(ValueError):
                one.kind("json", 60.0, codec=JSON)
            assert store.health().ok

    run(scene())


class Truth:
    """What is cached, where it comes from: a version for each key, and which of them are invalidated everywhere."""

    def __init__(self) -> None:
        self.version = dict.fromkeys("abc", 0)
        self.settled = dict.fromkeys("abc", 0)

    async def read(self, kind: Kind[int], key: str, chance: random.Random) -> None:
        least = self.settled[key]

        async def compute() -> int:
            found = self.version[key]
            await asyncio.sleep(chance.random() * 0.004)
            return found

        got = await kind.get_or_compute(key, compute, [f"tag {key}"])
        assert got >= least, f"{key}: version {got} after {least} was the truth everywhere"

    async def change(self, cache: Cache, kind: Kind[int], key: str, chance: random.Random) -> None:
        self.version[key] += 1
        now = self.version[key]
        how = chance.choice(["key", "tag", "kind"])
        if how == "key":
            assert await kind.invalidate(key)
        elif how == "tag":
            assert await cache.invalidate_tag(f"tag {key}")
        else:
            assert await kind.clear()
        self.settled[key] = max(self.settled[key], now)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("most", [1000, 0])  # 0: every result is too large to be kept
def test_nobody_is_ever_told_what_was_true_before(url: str, seed: int, most: int) -> None:
    """Readers and writers of two processes, at random: an invalidation that has returned counts for what follows."""

    async def actor(cache: Cache, kind: Kind[int], truth: Truth, chance: random.Random) -> None:
        for _ in range(60):
            key = chance.choice("abc")
            if chance.random() < 0.15:
                await truth.change(cache, kind, key, chance)
            else:
                await truth.read(kind, key, chance)
            await asyncio.sleep(chance.random() * 0.002)

    async def scene() -> None:
        async with caches(url) as (one, other, _):
            truth, chance = Truth(), random.Random(seed)
            kinds = [(cache, cache.kind("k", 60.0, codec=JSON, most=most)) for cache in (one, other)]
            await asyncio.gather(
                *(actor(*kinds[number % 2], truth, random.Random(chance.random())) for number in range(12))
            )
            if most:
                assert sum(kind.counts.hits for _, kind in kinds) > 50

    run(scene())
