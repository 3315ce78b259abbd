"""All limits of a route as one decision: what is refused costs nothing, slots lapse, and each failure mode holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.edge.limits.kit import Clock, Line, Shared, Worker
from tests.unit.edge.policies.kit import exchange, lines, principal, refused
from tests.unit.state.stores import run

from portico.edge.exchange import Exchange, Response
from portico.edge.policies.key_limits import NOTE

RATE = ("rate", {"tokens": 60, "seconds": 60, "burst": 14})
WINDOW = ("window", {"count": 14, "seconds": 60})
QUOTA = ("quota", {"count": 14})
SLOTS = ("concurrent", {"slots": 4})
MOST = 14  # too small for leases, so that each answer is exact
KINDS = [RATE, WINDOW, QUOTA]


class Scene:
    """Some workers on one store."""

    def __init__(self, folder: Path, *specs: tuple[str, dict[str, Any]], workers: int = 2, keys: bool = False) -> None:
        self.clock = Clock()
        self.shared = Shared(self.clock)
        self.specs = list(specs)
        self.folder = folder
        self.keys = keys
        self.count = workers
        self.workers: list[Worker] = []

    async def add(self) -> Worker:
        worker = Worker(self.specs, self.clock, self.folder, self.count, Line(self.shared), self.keys)
        await worker.start()
        self.workers.append(worker)
        return worker

    async def __aenter__(self) -> Scene:
        for _ in range(self.count):
            await self.add()
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def go_on(self, seconds: float) -> None:
        """Time passes, half a second at a time, with the beats that it should have."""
        for _ in range(max(1, int(seconds / 0.5))):
            self.clock.now += min(seconds, 0.5)
            for worker in self.workers:
                await worker.beat()
                await settled()

    def leave(self, away: bool) -> None:
        self.shared.away = away


async def settled() -> None:
    """Let the background tasks of this turn run."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("spec", KINDS)
def test_workers_count_together_and_callers_apart(spec: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, spec) as all_:
            passed = sum([await all_.workers[number % 2].admits() for number in range(60)])
            assert passed == MOST
            assert await all_.workers[1].burst(60, "bob") == MOST

    run(scene())


def test_a_refused_request_costs_nothing_in_the_others(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, RATE, WINDOW, QUOTA, ("window", {"count": 5, "seconds": 1, "name": "n"})) as all_:
            one, other = all_.workers
            assert await one.burst(200) == 5
            assert await all_.go_on(1.5) or await other.burst(20) == 5
            assert await all_.go_on(1.5) or await other.burst(20) == 4
            asked, answer = await one.ask()
            refused(answer, 429, "window_exceeded")
            assert asked.notes["limit"] == "window"

    run(scene())


def test_what_was_leased_is_given_back_too(tmp_path: Path) -> None:
    big = ("window", {"count": 4000, "seconds": 3600})

    async def scene() -> None:
        async with Scene(tmp_path, big, ("quota", {"count": 100})) as all_:
            one, other = all_.workers
            assert await one.burst(150) == 100
            assert await other.burst(10) == 0
            entry = next(
                iter(
                    one.keeper.tables[next(label for label in one.keeper.tables if "window" in label)].entries.values()
                )
            )
            assert entry.left + entry.remaining == 4000 - 100

    run(scene())


@pytest.mark.parametrize("spec", KINDS)
def test_what_the_caller_is_told(spec: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, spec) as all_:
            for number in range(MOST):
                asked, answer = await all_.workers[number % 2].ask()
                assert answer is None
                told = lines(asked.response_fields)
                assert told["ratelimit"].startswith(f'"{spec[0]}";r={MOST - 1 - number};t=')
            asked, answer = await all_.workers[0].ask()
            code = {"rate": "rate_limited", "window": "window_exceeded", "quota": "quota_exceeded"}[spec[0]]
            refused(answer, 429, code)
            assert isinstance(answer, Response)
            assert ";r=0;t=" in lines(answer.fields)["ratelimit"]
            seconds = int(lines(answer.fields)["retry-after"])
            assert seconds == {"rate": 1, "window": 61, "quota": 82_800}[spec[0]]
            await all_.go_on(float(seconds) if spec[0] != "quota" else 0.0)
            if spec[0] != "quota":
                assert await all_.workers[1].admits()

    run(scene())


def test_a_day_ends_at_midnight_also_for_leases(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, ("quota", {"count": 400})) as all_:
            one = all_.workers[0]
            all_.clock.now += 23 * 3600 - 0.1
            assert await one.beat()
            assert await one.burst(20) == 20
            assert one.keeper.leases
            all_.clock.now += 0.11
            assert await one.burst(500) == 400
            assert await all_.workers[1].burst(10) == 0

    run(scene())


def test_slots_are_shared_and_freed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, SLOTS) as all_:
            one, other = all_.workers
            held = [(worker, (await worker.ask())[0]) for worker in (one, one, other, other)]
            _asked, answer = await one.ask()
            refused(answer, 429, "too_many_concurrent")
            assert await other.burst(3) == 0
            held[0][0].end(held[0][1])
            await settled()
            assert lines((await other.ask())[0].response_fields)["ratelimit"] == '"concurrent";r=0'
            assert not await one.admits()

    run(scene())


def test_slots_lapse_with_their_worker(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, SLOTS) as all_:
            one, other = all_.workers
            assert await one.burst(4) == 4
            all_.workers.remove(one)
            await all_.go_on(1.0)
            assert not await other.admits(), "it may only be slow"
            await all_.go_on(1.5)
            assert await other.burst(9) == 4

    run(scene())


def test_a_client_that_leaves_while_the_store_is_asked_keeps_no_slot(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, SLOTS) as all_:
            one, other = all_.workers
            asked = exchange(now=0.0, wall=0.0, principal=principal())
            asked.rank = 1
            waiting = one.steps[0].check(asked)
            assert waiting is not None
            assert not isinstance(waiting, Response)
            task = asyncio.ensure_future(waiting)
            await asyncio.sleep(0)
            one.end(asked)
            await task
            await settled()
            assert await other.burst(9) == 4

    run(scene())


def test_slots_after_a_flush_wait_until_all_have_told_what_they_hold(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, ("concurrent", {"slots": 4, "on_store_failure": "closed"})) as all_:
            one, other = all_.workers
            assert await one.burst(3) == 3
            all_.shared.memory.entries.clear()
            assert not await other.admits()
            await all_.go_on(0.5)
            assert not await other.admits()
            await all_.go_on(2.0)
            assert await other.burst(9) == 1

    run(scene())


def test_slots_that_are_held_for_long_are_not_forgotten(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, SLOTS) as all_:
            one, other = all_.workers
            assert await one.burst(4) == 4
            for _ in range(15):
                await all_.go_on(10.0)
                one.keeper.turn(all_.clock.now)
                await settled()
            assert not await other.admits()

    run(scene())


@pytest.mark.parametrize("spec", [*KINDS, SLOTS])
@pytest.mark.parametrize("mode", ["closed", "open"])
def test_closed_refuses_and_open_admits(spec: tuple[str, dict[str, Any]], mode: str, tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, (spec[0], {**spec[1], "on_store_failure": mode})) as all_:
            one = all_.workers[0]
            all_.leave(True)
            assert not await one.beat()
            for _ in range(60):
                _, answer = await one.ask()
                if mode == "open":
                    assert answer is None
                else:
                    refused(answer, 503, "limits_unavailable")
            all_.leave(False)
            assert await one.beat()
            await settled()
            expected = MOST if spec[0] != "concurrent" else 4 if mode == "closed" else 0
            assert await one.burst(60) == expected, "slots that were taken without the store are held"

    run(scene())


@pytest.mark.parametrize(("spec", "known"), [(WINDOW, 0), (WINDOW, 8), (QUOTA, 8), (QUOTA, 0), (SLOTS, 0)])
def test_share_divides_what_is_left_by_the_workers(
    spec: tuple[str, dict[str, Any]], known: int, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, spec) as all_:
            one, other = all_.workers
            for number in range(known):
                await all_.workers[number % 2].admits()
            all_.leave(True)
            for worker in all_.workers:
                await worker.beat()
            most = 4 if spec is SLOTS else MOST
            granted = [await one.burst(60), await other.burst(60)]
            assert sum(granted) <= most - known
            assert min(granted) >= (most - known) // 2 - 1 or known

    run(scene())


def test_a_rate_that_is_shared_out_begins_empty_and_so_does_the_store_afterwards(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, RATE) as all_:
            one, other = all_.workers
            assert await one.burst(10) == 10
            all_.leave(True)
            await one.beat(), await other.beat()
            assert await one.burst(5) + await other.burst(5) == 0
            all_.clock.now += 10.0
            assert await one.burst(20) + await other.burst(20) == 10, "one a second, by both together"
            all_.leave(False)
            await one.beat(), await other.beat()
            all_.clock.now += 2.0
            await one.beat(), await other.beat()
            assert await one.burst(9) + await other.burst(9) == 2, "still alone, until all are back"
            all_.clock.now += 1.0
            assert await one.burst(9) + await other.burst(9) <= 1

    run(scene())


def test_a_reload_while_the_store_is_away_grants_nothing_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, WINDOW, RATE) as all_:
            one = all_.workers[0]
            all_.leave(True)
            await one.beat()
            all_.clock.now += 3600.0
            assert await one.burst(60) == MOST // 2
            for version in (2, 3):
                one.reload(version)
                assert await one.burst(60) == 0

    run(scene())


def test_a_flush_empties_rates_and_windows_but_quotas_are_remembered(tmp_path: Path) -> None:
    async def scene() -> None:
        for number, (spec, after) in enumerate(((RATE, 0), (WINDOW, 0), (QUOTA, 4))):
            folder = tmp_path / str(number)
            folder.mkdir()
            async with Scene(folder, spec) as all_:
                one, other = all_.workers
                assert await one.burst(10) == 10
                all_.shared.memory.entries.clear()
                _asked, answer = await other.ask()
                assert answer is None or answer.code != "policy_failed"
                await one.beat(), await other.beat()
                assert await one.burst(60) == after

    run(scene())


def test_limits_of_keys_count_over_all_workers(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, WINDOW, keys=True) as all_:
            one, other = all_.workers
            notes = {NOTE: (("window", "12/minute", 0), ("quota", "100/day", 0))}
            asked, answer = await one.ask("ada", notes)
            assert answer is None
            assert asked.response_fields.count(b"\r\nRateLimit: ") == 3
            granted = [(await worker.ask("ada", notes))[1] is None for worker in (one, other) * 20]
            assert sum(granted) == 11
            assert await other.burst(60) == MOST - 12, "the key's refusals cost the route's limit nothing"

    run(scene())


@pytest.mark.parametrize("spec", [*KINDS, SLOTS])
def test_a_look_spends_nothing(spec: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    async def scene() -> None:
        async with Scene(tmp_path, spec) as all_:
            one, other = all_.workers

            async def look(worker: Worker) -> tuple[Exchange, Response | None]:
                asked = exchange(now=all_.clock.now, wall=all_.clock.micros() / 1e6, principal=principal())
                peek = worker.steps[0].peek
                assert peek is not None
                answer = peek(asked)
                if answer is not None and not isinstance(answer, Response):
                    answer = await answer
                return asked, answer

            most = 4 if spec is SLOTS else MOST
            for _ in range(9):
                asked, answer = await look(one)
                assert answer is None
                assert f"r={most - 1}" in lines(asked.response_fields)["ratelimit"]
            assert await other.burst(60) == most
            assert (await look(one))[1] is not None

    run(scene())
