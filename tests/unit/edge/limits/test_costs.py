"""Limits of costs that workers share: estimates are reserved at the store or in a lease, the truth is told to it."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.edge.limits.kit import Clock, Line, Shared, Worker
from tests.unit.edge.policies.kit import lines, refused
from tests.unit.edge.policies.test_cost import Admitted, beyond
from tests.unit.state.stores import run

from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange
from portico.edge.limits.parts import HOT, LEASE
from portico.edge.policies import key_limits
from portico.edge.policies.key_limits import NOTE

WORKERS = 4
CONFIG = {"rate": {"tokens": 60, "seconds": 60, "burst": 100}, "window": {"count": 100, "seconds": 60},
          "quota": {"count": 100}}  # fmt: skip


class Scene:
    """Some workers on one store, with one limit of costs."""

    def __init__(self, folder: Path, kind: str, estimate: int = 10, **config: Any) -> None:
        cost = {"from": "tokens", "estimate": estimate, "most": 100_000}
        self.spec = (kind, {**CONFIG[kind], "on_store_failure": "closed", "cost": cost, **config})
        self.estimate = estimate
        self.folder = folder
        self.clock = Clock()
        self.shared = Shared(self.clock)
        self.workers: list[Worker] = []

    async def begin(self) -> Scene:
        for _ in range(WORKERS):
            await self.start()
        return self

    async def start(self) -> None:
        worker = Worker([self.spec], self.clock, self.folder, WORKERS, Line(self.shared))
        self.workers.append(worker)
        await worker.start()

    async def beats(self) -> None:
        for worker in self.workers:
            await worker.beat()
        await told()

    async def end(self, worker: Worker, asked: Exchange, cost: int | None, upstream: bytes = b"u") -> None:
        asked.upstream = upstream
        asked.ended = self.clock.now
        if asked.tap is not None and cost is not None:
            asked.tap.tokens = cost
        worker.end(asked)
        await told()

    async def left(self) -> int:
        """Asked of a worker that knows nothing."""
        worker = Worker([self.spec], self.clock, self.folder, WORKERS, Line(self.shared))
        await worker.start()
        asked, answer = await worker.ask()
        if answer is not None:
            return 0
        remaining = int(lines(asked.response_fields)["ratelimit"].split(";r=")[1].split(";")[0]) + self.estimate
        await self.end(worker, asked, None, b"")
        return remaining


async def told() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", CONFIG)
@pytest.mark.parametrize(("cost", "counted"), [(3, 3), (10, 10), (60, 60), (None, 10)])
def test_what_one_worker_settles_all_know(kind: str, cost: int | None, counted: int, tmp_path: Path) -> None:
    async def scene() -> None:
        all_ = await Scene(tmp_path, kind).begin()
        asked, answer = await all_.workers[0].ask()
        assert answer is None
        assert lines(asked.response_fields)["ratelimit"].startswith(f'"{kind}";r=90;t=')
        await all_.end(all_.workers[0], asked, cost)
        assert await all_.left() == 100 - counted
        await all_.end(all_.workers[0], asked, 50)
        assert await all_.left() == 100 - counted, "settled once"
        second, _ = await all_.workers[1].ask()
        await all_.end(all_.workers[1], second, None, b"")
        assert await all_.left() == 100 - counted, "what reached no upstream costs nothing"

    run(scene())


@pytest.mark.parametrize(
    "spec", [("window", "100/minute", 0), ("quota", "100/day", 0), ("rate", "60/minute", 100)], ids=lambda spec: spec[0]
)
def test_a_key_s_limits_know_of_requests_that_were_several_on_every_route(
    spec: tuple[str, str, int], tmp_path: Path
) -> None:
    cost = {"from": "header:x-portico-cost", "estimate": 1, "most": 1000}

    async def scene() -> None:
        clock = Clock()
        shared = Shared(clock)
        costly, plain = (Worker([], clock, tmp_path, 2, Line(shared), True) for _ in range(2))
        context = PolicyContext(costly._snapshot(1), costly.route, costly.shared)
        costly.steps = [key_limits.build({"cost": cost}, context)]
        await costly.start()
        await plain.start()
        notes = {NOTE: (spec,)}

        async def several(count: int) -> None:
            asked, answer = await costly.ask("ada", notes)
            assert answer is None
            asked.upstream, asked.ended = b"u", clock.now
            assert asked.tap is not None
            asked.tap.asked[b"x-portico-cost"] = count
            costly.end(asked)
            await told()

        async def left() -> int:
            asked, answer = await plain.ask("ada", notes)
            return 0 if answer else int(lines(asked.response_fields)["ratelimit"].split(";r=")[1].split(";")[0])

        await several(40)
        assert await left() == 59
        await several(99)  # of 59
        for _ in range(3):
            assert await left() == 0, "the debt stays, whoever asks"
        clock.now += 30
        if spec[0] == "rate":
            assert await left() == 0, "40 and more are owed, 30 have refilled"
            clock.now += 30
            assert await left() > 0

    run(scene())


@pytest.mark.parametrize("kind", CONFIG)
def test_a_debt_is_paid_first_and_shown_as_nothing_left(kind: str, tmp_path: Path) -> None:
    async def scene() -> None:
        all_ = await Scene(tmp_path, kind).begin()
        asked, _ = await all_.workers[0].ask()
        await all_.end(all_.workers[0], asked, 250)
        _, answer = await all_.workers[1].ask()
        code = {"rate": "rate_limited", "window": "window_exceeded", "quota": "quota_exceeded"}[kind]
        refused(answer, 429, code)
        assert answer is not None
        assert ";r=0;t=" in lines(answer.fields)["ratelimit"]
        pays = {"rate": 160, "window": 61, "quota": 23 * 3600}[kind]
        for _ in range(2 * pays):
            all_.clock.now += 0.5
            if kind != "quota":
                await all_.beats()
                if all_.clock.now < 1000 + pays - 1:
                    assert not await all_.workers[2].admits()
        await all_.beats()
        assert await all_.workers[2].admits()

    run(scene())


@pytest.mark.parametrize("kind", CONFIG)
def test_hot_callers_lease_costs_too(kind: str, tmp_path: Path) -> None:
    large = {"rate": {"tokens": 1, "seconds": 3600, "burst": 100_000}, "window": {"count": 100_000, "seconds": 3600},
             "quota": {"count": 100_000}}[kind]  # fmt: skip

    async def scene() -> None:
        all_ = await Scene(tmp_path, kind, **large).begin()
        one = all_.workers[0]
        asked = [(await one.ask())[0] for _ in range(HOT + 1)]
        assert one.keeper.leases
        before = all_.shared.calls
        asked += [(await one.ask())[0] for _ in range(40)]
        assert all_.shared.calls == before, "granted from the lease"
        for each in asked:
            each.upstream, each.ended = b"u", all_.clock.now
            assert each.tap is not None
            each.tap.tokens = 17
            one.end(each)
        await told()
        assert all_.shared.calls <= before + 2, "told together"
        all_.clock.now += 1.0
        one.keeper.turn(all_.clock.now)
        await all_.beats()
        spent = 17 * len(asked)
        if kind == "rate":  # what lapses unused of a rate's lease refills, which takes its time here
            assert 100_000 - spent - 640 <= await all_.left() <= 100_000 - spent
        else:
            assert await all_.left() == 100_000 - spent

    run(scene())


def test_what_ends_while_the_store_is_away_is_told_later(tmp_path: Path) -> None:
    async def scene() -> None:
        all_ = await Scene(tmp_path, "window").begin()
        one = all_.workers[0]
        more, less = (await one.ask())[0], (await one.ask())[0]
        all_.shared.away = True
        await one.beat()
        await all_.end(one, more, 30)
        await all_.end(one, less, 4)
        _, answer = await one.ask()
        refused(answer, 503, "limits_unavailable")
        all_.shared.away = False
        await all_.beats()
        assert await all_.left() == 100 - 34

    run(scene())


def test_what_a_new_epoch_has_not_counted_is_not_given_back(tmp_path: Path) -> None:
    async def scene() -> None:
        all_ = await Scene(tmp_path, "rate", tokens=600).begin()
        one = all_.workers[0]
        more, less = (await one.ask())[0], (await one.ask())[0]
        all_.shared.memory.entries.clear()
        await all_.beats()
        all_.clock.now += 5.0
        await all_.beats()
        assert await all_.left() == 50
        await all_.end(one, less, 0)
        assert await all_.left() == 50
        await all_.end(one, more, 30)
        assert await all_.left() == 30

    run(scene())


def test_without_the_store_a_share_of_costs_is_granted_and_settled(tmp_path: Path) -> None:
    async def scene() -> None:
        all_ = await Scene(tmp_path, "window", on_store_failure="share").begin()
        one = all_.workers[0]
        all_.shared.away = True
        await one.beat()
        first, answer = await one.ask()
        assert answer is None
        await all_.end(one, first, 4)
        assert [await one.admits() for _ in range(3)] == [True, True, False], "25, of which 4 are used"

    run(scene())


def test_a_stop_tells_what_it_owes(tmp_path: Path) -> None:
    async def scene() -> None:
        all_ = await Scene(tmp_path, "window").begin()
        asked, _ = await all_.workers[0].ask()
        asked.upstream, asked.ended = b"u", all_.clock.now
        assert asked.tap is not None
        asked.tap.tokens = 44
        all_.workers[0].end(asked)
        await all_.workers[0].keeper.stop()
        assert await all_.left() == 56

    run(scene())


actions = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, WORKERS - 1), st.sampled_from([0, 1, 10, 40, 500])),
        st.tuples(st.just("burst"), st.integers(0, WORKERS - 1), st.sampled_from([0, 1, 10, 40])),
        st.tuples(st.just("settle"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("settle"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.sampled_from([1, 100, 390, 410, 2000, 20_000])),
        st.tuples(st.sampled_from(["crash", "flush", "failover", "turn"]), st.integers(0, WORKERS - 1), st.just(0)),
    ),
    max_size=50,
)


async def play(all_: Scene, story: list[tuple[str, int, int]]) -> list[tuple[int, Admitted]]:
    found: list[tuple[int, Admitted]] = []
    holders: dict[int, Worker] = {}
    number = 0
    for what, which, amount in story:
        if what in ("ask", "burst"):
            for _ in range(1 if what == "ask" else HOT + 4):
                number += 1
                asked, answer = await all_.workers[which].ask()
                if answer is None:
                    one = Admitted(asked, round(all_.clock.now * 1000), all_.estimate, amount)
                    holders[id(one)] = all_.workers[which]
                    found.append((number, one))
        elif what == "settle":
            under_way = [each for _, each in found if each.settled < 0 and holders[id(each)] in all_.workers]
            for each in under_way[which % 7 : which % 7 + 3]:
                number += 1
                each.settled = number
                each.ended = round(all_.clock.now * 1000)
                await all_.end(holders[id(each)], each.asked, each.cost)
        elif what == "wait":
            for _ in range(max(1, amount // 500)):
                all_.clock.now += min(amount, 500) / 1000
                await all_.beats()
        elif what == "crash":
            del all_.workers[which]
            await all_.start()
        elif what == "turn":
            all_.workers[which].keeper.turn(all_.clock.now)
            await told()
        else:
            if what == "flush":
                all_.shared.memory.entries.clear()
            else:
                await all_.shared.memory.set("limits:run", str(all_.clock.now).encode(), 1e6)
            await all_.beats()
    return found


def leased(found: list[tuple[int, Admitted]], first: int, last: int) -> int:
    """What those took beyond their estimate who ended within a lease's life before the last one came."""
    number, at = found[last][0], found[last][1].at
    ended = [each for _, each in found[first:last] if 0 <= each.settled < number and at - each.ended < 1000 * LEASE]
    return sum(max(0, each.cost - each.estimate) for each in ended)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions, st.sampled_from([1, 10]), st.sampled_from([100, 1000]))
def test_a_shared_rate_is_never_above_but_for_what_is_under_way(
    tmp_path_factory: pytest.TempPathFactory, story: Any, estimate: int, burst: int
) -> None:
    async def scene() -> list[tuple[int, Admitted]]:
        spec = Scene(tmp_path_factory.mktemp("costs"), "rate", estimate, burst=burst, tokens=120)
        return await play(await spec.begin(), story)

    found = run(scene())
    for first, (_, one) in enumerate(found):
        spent = 0
        for last in range(first, len(found)):
            spent += found[last][1].cost
            span = Fraction(found[last][1].at - one.at, 1000)
            assert spent <= burst + 2 * span + beyond(found, first, last) + leased(found, first, last)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions, st.sampled_from([1, 10]), st.sampled_from([100, 1000]))
def test_a_shared_window_is_never_above_but_for_what_is_under_way(
    tmp_path_factory: pytest.TempPathFactory, story: Any, estimate: int, count: int
) -> None:
    async def scene() -> list[tuple[int, Admitted]]:
        spec = Scene(tmp_path_factory.mktemp("costs"), "window", estimate, count=count)
        return await play(await spec.begin(), story)

    found = run(scene())
    for first, (_, one) in enumerate(found):
        spent = 0
        for last in range(first, len(found)):
            if found[last][1].at - one.at >= 60_000:
                break
            spent += found[last][1].cost
            late = [each for _, each in found[first : last + 1] if not 0 <= each.settled < found[last][0]]
            excess = sum(max(0, each.cost - each.estimate) for each in late)
            assert spent <= count + excess + leased(found, first, last)
