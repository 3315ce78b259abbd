"""Never above the limit in any span, whatever workers hoard, however they die: against an exact count of every span."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.edge.limits.kit import Clock, Line, Shared, Worker
from tests.unit.state.stores import opened, run

from portico.edge.limits.parts import HOT

WORKERS = 8


def above_rate(times: list[float], burst: int, rate: Fraction) -> float:
    """By how many requests the worst of all spans has more than burst + rate · T; exactly; 0 if none has."""
    worst = least = Fraction(-burst)
    for index, at in enumerate(times):
        owed = index - rate * Fraction(at)
        least = min(least, owed) if index else owed
        worst = max(worst, owed + 1 - least - burst)
    return round(float(worst), 6)  # the store counts in microseconds, which a float's seconds are not quite


def above_window(times: list[float], most: int, seconds: float) -> list[tuple[float, int]]:
    """The windows with more than `most` requests; times are in order."""
    late = ((at, times[index + most]) for index, at in enumerate(times[: max(0, len(times) - most)]))
    return [(at, most) for at, other in late if other - at < seconds - 1e-6]


actions = st.one_of(
    st.tuples(st.just("burst"), st.integers(0, WORKERS - 1), st.integers(1, 30)),
    st.tuples(st.just("hoard"), st.just(0), st.just(HOT + 2)),
    st.tuples(st.just("spend"), st.just(0), st.just(20)),
    st.tuples(st.just("wait"), st.just(0), st.sampled_from([1, 50, 100, 390, 410, 700, 2000, 20_000])),
    st.tuples(st.just("crash"), st.integers(0, WORKERS - 1), st.just(0)),
    st.tuples(st.just("beat"), st.just(0), st.just(0)),
    st.tuples(st.just("flush"), st.just(0), st.just(0)),
    st.tuples(st.just("failover"), st.just(0), st.just(0)),
    st.tuples(st.just("away"), st.just(0), st.just(0)),
    st.tuples(st.just("back"), st.just(0), st.just(0)),
    st.tuples(st.just("turn"), st.integers(0, WORKERS - 1), st.just(0)),
)


class Story:
    """Eight workers, and what happens to them."""

    def __init__(self, spec: tuple[str, dict[str, Any]], folder: Path) -> None:
        self.spec = spec
        self.folder = folder
        self.clock = Clock()
        self.shared = Shared(self.clock)
        self.workers: list[Worker] = []
        self.times: list[float] = []

    async def begin(self) -> None:
        for _ in range(WORKERS):
            await self._start()

    async def _start(self) -> None:
        worker = Worker([self.spec], self.clock, self.folder, WORKERS, Line(self.shared))
        self.workers.append(worker)
        await worker.start()

    async def _asked(self, worker: Worker, number: int) -> None:
        self.times += [self.clock.now] * await worker.burst(number)

    async def step(self, name: str, which: int, number: int) -> None:
        if name == "burst":
            await self._asked(self.workers[which], number)
        elif name in ("hoard", "spend"):
            for worker in self.workers:
                await self._asked(worker, number)
        elif name == "wait":
            for _ in range(max(1, number // 500)):
                self.clock.now += min(number, 500) / 1000
                await self.beats()
        elif name == "crash":
            del self.workers[which]
            await self._start()
        elif name == "beat":
            await self.beats()
        elif name == "flush":
            self.shared.memory.entries.clear()
        elif name == "failover":
            await self.shared.memory.set("limits:run", str(self.clock.now).encode(), 1e6)
            await self.beats()  # a new server is a new connection, and each begins with a beat
        elif name == "turn":
            self.workers[which].keeper.turn(self.clock.now)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        else:
            self.shared.away = name == "away"
            await self.beats()

    async def beats(self) -> None:
        for worker in self.workers:
            await worker.beat()


def play(spec: tuple[str, dict[str, Any]], folder: Path, story: list[tuple[str, int, int]]) -> list[float]:
    async def scene() -> list[float]:
        told = Story(spec, folder)
        await told.begin()
        for each in story:
            await told.step(*each)
        return told.times

    return run(scene())


@pytest.mark.parametrize("mode", ["share", "closed"])
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    story=st.lists(actions, max_size=40),
    burst=st.sampled_from([1, 7, 60, 150, 1000]),
    tokens=st.sampled_from([1, 60, 600, 60_000]),
)
def test_a_rate_admits_at_most_its_burst_and_what_refills(
    mode: str, tmp_path_factory: pytest.TempPathFactory, story: Any, burst: int, tokens: int
) -> None:
    spec = ("rate", {"tokens": tokens, "seconds": 60, "burst": burst, "on_store_failure": mode})
    times = play(spec, tmp_path_factory.mktemp("bound"), story)
    assert above_rate(times, burst, Fraction(tokens, 60)) <= 0


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    story=st.lists(actions, max_size=40),
    most=st.sampled_from([1, 7, 60, 150, 1000]),
    seconds=st.sampled_from([1, 60]),
)
def test_a_window_never_has_more(tmp_path_factory: pytest.TempPathFactory, story: Any, most: int, seconds: int) -> None:
    spec = ("window", {"count": most, "seconds": seconds, "on_store_failure": "closed"})
    times = play(spec, tmp_path_factory.mktemp("bound"), story)
    assert above_window(times, most, float(seconds)) == []


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=st.lists(actions.filter(lambda each: each[0] not in ("flush", "failover")), max_size=40))
def test_a_quota_never_has_more_in_a_day(tmp_path_factory: pytest.TempPathFactory, story: Any) -> None:
    spec = ("quota", {"count": 150, "on_store_failure": "closed"})
    assert len(play(spec, tmp_path_factory.mktemp("bound"), story)) <= 150


def test_hoarded_leases_that_are_spent_together(tmp_path: Path) -> None:
    """Every worker takes a lease and waits until the bucket is full again; then all spend at once."""
    spec = ("rate", {"tokens": 30_000, "seconds": 60, "burst": 320})

    async def scene() -> None:
        story = Story(spec, tmp_path)
        await story.begin()
        for _ in range(3):
            await story.step("hoard", 0, HOT + 2)
            assert sum(worker.keeper.leases != {} for worker in story.workers) == WORKERS, "all hold leases"
            await story.step("wait", 0, 390)
            await story.step("spend", 0, 200)
            await story.step("wait", 0, 60_000)
        assert above_rate(story.times, 320, Fraction(500)) <= 0
        first = [at for at in story.times if at < 1001]
        assert len(first) >= 320, "and what is allowed is granted"

    run(scene())


def test_a_lease_of_a_window_that_is_used_late(tmp_path: Path) -> None:
    """Taken at the end of one sub-window, used in the next: it counts as long as what is used then."""
    spec = ("window", {"count": 1000, "seconds": 60, "on_store_failure": "closed"})

    async def scene() -> None:
        story = Story(spec, tmp_path)
        await story.begin()
        story.clock.now += 0.9
        await story.step("hoard", 0, HOT + 2)
        assert sum(worker.keeper.leases != {} for worker in story.workers) == WORKERS
        story.clock.now += 0.2
        await story.step("spend", 0, 200)
        assert len(story.times) > 900
        for pause in (59.85, 0.1, 0.1, 0.1, 0.7, 0.1, 0.9):
            story.clock.now += pause
            await story.beats()
            await story.step("spend", 0, 200)
        assert above_window(story.times, 1000, 60.0) == []
        assert len(story.times) > 1000

    run(scene())


def test_a_client_pinned_to_one_worker_and_a_cold_key(tmp_path: Path) -> None:
    spec = ("rate", {"tokens": 1, "seconds": 60, "burst": 320})

    async def scene() -> None:
        story = Story(spec, tmp_path)
        await story.begin()
        lease = 320 // (4 * WORKERS)
        assert await story.workers[3].burst(1000, "pinned") >= 320 - WORKERS * lease
        await story.beats()
        cold = 0
        for round_ in range(400):  # too seldom on each worker to be hot: exact
            cold += await story.workers[round_ % WORKERS].admits("cold")
            story.clock.now += 0.05
        assert cold == 320, "20 s, in which not one token comes back"

    run(scene())


def test_small_limits_are_never_leased(tmp_path: Path) -> None:
    spec = ("rate", {"tokens": 60, "seconds": 60, "burst": 60})

    async def scene() -> None:
        story = Story(spec, tmp_path)
        await story.begin()
        assert await story.workers[0].burst(100) == 60
        assert story.workers[0].keeper.leases == {}

    run(scene())


def test_hot_keys_ask_seldom(tmp_path: Path) -> None:
    spec = ("rate", {"tokens": 60_000, "seconds": 60, "burst": 4000})

    async def scene() -> None:
        story = Story(spec, tmp_path)
        await story.begin()
        before = story.shared.calls
        assert await story.workers[0].burst(1000) == 1000
        assert story.shared.calls - before < 50

    run(scene())


def test_leases_grow_with_what_is_asked_and_shrink_again(tmp_path: Path) -> None:
    spec = ("rate", {"tokens": 60_000_000, "seconds": 60, "burst": 1_000_000})

    async def scene() -> None:
        story = Story(spec, tmp_path)
        await story.begin()
        before = story.shared.calls
        assert await story.workers[0].burst(20_000) == 20_000
        assert story.shared.calls - before < HOT + 4 + 20_000 / 1024 + 1
        (entry,) = next(iter(story.workers[0].keeper.tables.values())).entries.values()
        assert entry.size == 1024
        for _ in range(6):  # slower than that
            story.clock.now += 0.45
            assert await story.workers[0].burst(HOT + 1) == HOT + 1
        assert entry.size < 128

    run(scene())


def test_what_lapses_unused_is_given_back(tmp_path: Path) -> None:
    async def scene() -> None:
        for kind, config in (("quota", {"count": 1000}), ("window", {"count": 1000, "seconds": 3600})):
            folder = tmp_path / kind
            folder.mkdir()
            story = Story((kind, config), folder)
            await story.begin()
            worker = story.workers[0]
            assert await worker.burst(HOT + 1) == HOT + 1
            assert worker.keeper.leases
            story.clock.now += 1.0
            await story.step("turn", 0, 0)
            assert await story.workers[1].burst(2000) + HOT + 1 == 1000

    run(scene())


def test_the_same_over_a_real_redis(redis_url: str, tmp_path: Path) -> None:
    """Eight workers on eight connections ask at the same time; in real time, with leases."""
    import time

    class Now:
        now = property(lambda self: time.monotonic())

        def __call__(self) -> float:
            return time.monotonic()

        def micros(self) -> int:
            return 0

    async def scene() -> None:
        spec = ("rate", {"tokens": 6000, "seconds": 60, "burst": 320})
        workers: list[Worker] = []
        times: dict[str, list[float]] = {who: [] for who in ("a", "b", "c")}
        async with asyncio.timeout(30), AsyncStack() as stack:
            for _ in range(WORKERS):
                store = await stack.enter(opened(redis_url, 5.0))
                workers.append(Worker([spec], Now(), tmp_path, WORKERS, store))  # type: ignore[arg-type]
                await workers[-1].start()

            async def client(worker: Worker, who: str, end: float) -> None:
                while time.monotonic() < end:
                    if await worker.admits(who):
                        times[who].append(time.monotonic())
                    await asyncio.sleep(0)

            for pause in (0.0, 0.35, 0.7):
                await asyncio.sleep(pause)
                end = time.monotonic() + 0.5
                await asyncio.gather(*(client(worker, who, end) for worker in workers for who in times))
        for who, found in times.items():
            late = 0.2  # seconds by which a busy loop may note a request later than it was granted
            assert len(found) >= 320, who
            assert len(found) <= 320 + 100 * (found[-1] - found[0] + late)

    class AsyncStack:
        def __init__(self) -> None:
            self.open: list[Any] = []

        async def __aenter__(self) -> AsyncStack:
            return self

        async def __aexit__(self, *_: object) -> None:
            for each in reversed(self.open):
                await each.__aexit__(None, None, None)

        async def enter(self, manager: Any) -> Any:
            self.open.append(manager)
            return await manager.__aenter__()

    run(scene())
