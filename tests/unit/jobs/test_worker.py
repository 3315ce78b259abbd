"""Workers of this process: what they run, how they try again, what they let go of."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.jobs.kit import Bench, eventually

from portico.errors import GiveUp, JobError, LeaseLost, RetryLater
from portico.jobs import Backoff, Job, claims
from portico.jobs.worker import IDLE, PACE
from portico.storage.ids import now


def test_jobs_are_run_by_priority_then_age_and_their_results_kept(bench: Bench) -> None:
    order: list[int] = []

    async def run(job: Job) -> dict[str, Any]:
        order.append(job.payload["n"])
        return {"doubled": 2 * job.payload["n"]}

    async def work() -> None:
        bench.handle("a.b", run)
        ids = [await bench.add("a.b", {"n": n}, priority=p) for n, p in ((1, 0), (2, 0), (3, 5), (4, -5))]
        worker = bench.worker(default=1)
        worker.start()
        done = [await bench.until(id_, "succeeded") for id_ in ids]
        await worker.stop(1)
        assert order == [3, 1, 2, 4]
        assert [each.result for each in done] == [{"doubled": 2}, {"doubled": 4}, {"doubled": 6}, {"doubled": 8}]
        assert done[0].attempt == 1
        assert done[0].worker == worker.name
        assert f"/{os.getpid()}/" in worker.name

    bench.store.run(work())


def test_jobs_that_come_one_by_one_are_claimed_some_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[int] = []
    take = claims.take

    async def counted(*args: Any) -> list[claims.Claim]:
        found = await take(*args)
        claimed.append(len(found))
        return found

    async def run(job: Job) -> None:
        return None

    async def work() -> None:
        monkeypatch.setattr(claims, "take", counted)
        bench.handle("a.b", run)
        worker = bench.worker(default=1000)
        worker.start()
        began = time.monotonic()
        await bench.until(await bench.add("a.b"), "succeeded")
        assert time.monotonic() - began < PACE + IDLE, "a single one need not wait"
        for _ in range(100):
            last = await bench.add("a.b")
            await asyncio.sleep(0.002)
        await bench.until(last, "succeeded")
        took = time.monotonic() - began
        await worker.stop(1)
        assert sum(claimed) == 101
        assert len(claimed) <= took / PACE + 3

    bench.store.run(work())


def test_a_failed_attempt_is_tried_again_and_the_last_is_a_dead_letter(bench: Bench) -> None:
    async def run(job: Job) -> None:
        raise JobError("it is broken")

    async def secretive(job: Job) -> None:
        raise ValueError("password=hunter2")

    async def work() -> None:
        bench.handle("a.b", run)
        bench.handle("a.c", secretive, backoff=Backoff(()))
        worker = bench.worker()
        worker.start()
        dead = await bench.until(await bench.add("a.b"), "failed")
        assert (dead.attempt, dead.error) == (3, "it is broken")
        before = await bench.jobs.attempts(dead.id)
        assert [(each.attempt, each.outcome, each.error) for each in before] == [
            (1, "failed", "it is broken"), (2, "failed", "it is broken"),
        ]  # fmt: skip
        assert (await bench.until(await bench.add("a.c"), "failed")).error == "ValueError"
        again = await bench.jobs.retry(dead.id)
        assert (again.state, again.attempt) == ("queued", 0)
        assert (await bench.until(dead.id, "failed")).attempt == 3
        await worker.stop(1)

    bench.store.run(work())


def test_a_handler_decides_when_and_whether_to_try_again(bench: Bench) -> None:
    seen: list[float] = []

    async def later(job: Job) -> None:
        seen.append(time.monotonic())
        if job.attempt == 1:
            raise RetryLater("busy", 0.3)

    async def hopeless(job: Job) -> None:
        raise GiveUp("gone for good")

    async def work() -> None:
        bench.handle("a.later", later, backoff=Backoff((3600,)))
        bench.handle("a.hopeless", hopeless)
        worker = bench.worker()
        worker.start()
        done = await bench.until(await bench.add("a.later"), "succeeded")
        assert done.attempt == 2
        assert 0.3 <= seen[1] - seen[0] < 3
        lost = await bench.until(await bench.add("a.hopeless"), "failed")
        assert (lost.attempt, lost.error) == (1, "gone for good")
        await worker.stop(1)

    bench.store.run(work())


def test_back_off_has_jitter_within_its_bounds() -> None:
    steps = Backoff((10, 20), jitter=0.5)
    waits = {steps.after(1) for _ in range(50)}
    assert len(waits) > 1
    assert all(wait is not None and 10 <= wait <= 15 for wait in waits)
    assert steps.after(3) is None
    assert steps.attempts == 3


def test_an_attempt_ends_after_its_time(bench: Bench) -> None:
    async def run(job: Job) -> None:
        await asyncio.sleep(60)

    async def work() -> None:
        bench.handle("a.b", run, timeout=0.1, backoff=Backoff(()))
        worker = bench.worker()
        worker.start()
        assert (await bench.until(await bench.add("a.b"), "failed")).error == "not done within 0.1 s"
        await worker.stop(1)

    bench.store.run(work())


def test_at_most_so_many_of_a_queue_at_once_and_queues_do_not_wait_for_one_another(bench: Bench) -> None:
    running, most = 0, 0
    release = asyncio.Event()

    async def slow(job: Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    async def quick(job: Job) -> None:
        pass

    async def work() -> None:
        bench.handle("a.slow", slow, queue="slow")
        bench.handle("a.quick", quick)
        worker = bench.worker(slow=3, default=10)
        worker.start()
        ids = [await bench.add("a.slow") for _ in range(7)]
        await bench.until(await bench.add("a.quick"), "succeeded")
        await eventually(lambda: _is(lambda: running == 3), "three run")
        release.set()
        for id_ in ids:
            await bench.until(id_, "succeeded")
        assert most == 3
        await worker.stop(1)

    bench.store.run(work())


async def _is(condition: Any) -> bool:
    return bool(condition())


def test_delayed_jobs_start_at_their_time(bench: Bench) -> None:
    started: list[float] = []

    async def run(job: Job) -> None:
        started.append(time.monotonic())

    async def work() -> None:
        bench.handle("a.b", run)
        worker = bench.worker()
        worker.start()
        began = time.monotonic()
        id_ = await bench.add("a.b", delay=0.5)
        assert (await bench.get(id_)).state == "waiting"
        await bench.until(id_, "succeeded")
        assert 0.45 <= started[0] - began < 3
        await worker.stop(1)

    bench.store.run(work())


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_running_job_is_cancelled_within_a_second(bench: Bench, stubborn: bool) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def run(job: Job) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if stubborn and len(caught) < 2:  # goes on, and is told again
                caught.append(1)
                await run(job)
            raise
        finally:
            ended.set()

    caught: list[int] = []

    async def work() -> None:
        bench.handle("a.b", run)
        worker = bench.worker()
        worker.start()
        id_ = await bench.add("a.b")
        await begun.wait()
        at = time.monotonic()
        assert (await bench.jobs.cancel(id_)).cancelling
        found = await bench.until(id_, "cancelled")
        assert ended.is_set()
        assert stubborn or time.monotonic() - at < 1.5
        assert found.error == ""
        await worker.stop(1)

    bench.store.run(work())


def test_an_attempt_that_fails_while_it_is_cancelled_is_the_last(bench: Bench) -> None:
    async def run(job: Job) -> None:
        await bench.jobs.cancel(job.id)
        raise RuntimeError("as it happens")

    async def work() -> None:
        bench.handle("a.b", run)
        worker = bench.worker()
        worker.start()
        found = await bench.until(await bench.add("a.b"), "cancelled")
        assert not found.cancelling
        assert found.ended_at is not None
        await worker.stop(1)

    bench.store.run(work())


def test_progress_is_seen_while_it_runs(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def run(job: Job) -> None:
        await job.progress(3, 10, "reading")
        await go_on.wait()

    async def work() -> None:
        bench.handle("a.b", run)
        worker = bench.worker()
        worker.start()
        id_ = await bench.add("a.b")

        async def told() -> bool:
            return (await bench.get(id_)).progress == {"done": 3, "total": 10, "note": "reading"}

        await eventually(told, "progress")
        go_on.set()
        await bench.until(id_, "succeeded")
        await worker.stop(1)

    bench.store.run(work())


def test_what_runs_when_the_worker_stops_is_taken_up_by_another_at_no_cost(bench: Bench) -> None:
    runs: list[str] = []

    async def run(job: Job) -> None:
        runs.append(job.id)
        if len(runs) == 1:
            await asyncio.sleep(60)

    async def work() -> None:
        bench.handle("a.b", run)
        first = bench.worker()
        first.start()
        id_ = await bench.add("a.b")
        await eventually(lambda: _is(lambda: runs), "it runs")
        await first.stop(0.05)
        assert (await bench.get(id_)).state == "queued"
        second = bench.worker()
        second.start()
        found = await bench.until(id_, "succeeded")
        assert found.attempt == 1
        await second.stop(1)

    bench.store.run(work())


def test_an_effect_finishes_its_job_in_the_same_transaction(bench: Bench) -> None:
    async def run(job: Job) -> None:
        async with job.effect(finish=True, result={"made": 1}) as session:
            await bench.jobs.enqueue(session, "a.made", {})
        raise RuntimeError("after the end")

    async def work() -> None:
        bench.handle("a.b", run)
        worker = bench.worker()
        worker.start()
        found = await bench.until(await bench.add("a.b"), "succeeded")
        assert found.result == {"made": 1}
        await worker.stop(1)
        assert (await bench.get(found.id)).state == "succeeded"
        assert len((await bench.jobs.list(kind="a.made"))[0]) == 1

    bench.store.run(work())


def test_a_worker_taken_for_dead_writes_nothing_more(bench: Bench) -> None:
    """Its jobs are taken from it while it is silent; what it does when it awakes is refused, or has no effect."""
    silent = bench.worker(lease=1000)
    awake, refused = asyncio.Event(), asyncio.Event()
    tokens: list[int] = []

    async def run(job: Job) -> dict[str, Any]:
        tokens.append(job.token)
        if len(tokens) == 1:
            await awake.wait()
            try:
                async with job.effect():
                    raise AssertionError("the effect of a dead worker")
            except LeaseLost:
                refused.set()
        return {"by": len(tokens) if job.token == tokens[-1] else 0}

    async def work() -> None:
        bench.handle("a.b", run)
        silent.start()
        id_ = await bench.add("a.b")
        await eventually(lambda: _is(lambda: tokens), "it runs")
        other = bench.worker(lease=0.6)
        other.start()
        found = await bench.until(id_, "succeeded")
        assert (found.attempt, found.worker, found.result) == (2, other.name, {"by": 2})
        assert [each.outcome for each in await bench.jobs.attempts(id_)] == ["lost"]
        assert tokens[1] > tokens[0]
        awake.set()
        await refused.wait()
        await silent.stop(1)
        assert await bench.get(id_) == found
        await other.stop(1)

    bench.store.run(work())


def test_a_living_worker_keeps_long_jobs_and_a_clock_that_jumps_takes_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    end = asyncio.Event()

    async def run(job: Job) -> None:
        runs.append(job.id)
        await end.wait()

    async def work() -> None:
        bench.handle("a.b", run)
        workers = [bench.worker(lease=0.6), bench.worker(lease=0.6)]
        for each in workers:
            each.start()
        id_ = await bench.add("a.b")
        await eventually(lambda: _is(lambda: runs), "it runs")
        for jump in (86400, -86400):
            for module in ("peers", "jobs", "claims", "finish"):
                monkeypatch.setattr(f"portico.jobs.{module}.now", lambda jump=jump: _shifted(jump))
            until = time.monotonic() + 1.5
            await eventually(lambda until=until: _is(lambda: time.monotonic() > until), "more than two leases")
            late = await bench.add("a.b")  # runs at once, though the clock went back
            await eventually(lambda late=late: _is(lambda: late in runs), "the clock's jump keeps no job waiting")
        end.set()
        await bench.until(id_, "succeeded")
        for each in workers:
            await each.stop(1)
        assert runs.count(id_) == 1

    bench.store.run(work())


def _shifted(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


def test_jobs_of_an_unknown_kind_wait_for_someone_who_knows_it(bench: Bench) -> None:
    async def work() -> None:
        worker = bench.worker()
        worker.start()
        found = await bench.until(await bench.add("a.strange"), "waiting")
        assert found.attempt == 0
        assert "no plugin" in found.error
        await worker.stop(1)

    bench.store.run(work())


def test_a_result_that_is_no_json_fails_the_job(bench: Bench) -> None:
    async def strange(job: Job) -> Any:
        return {"a": object()}

    async def large(job: Job) -> Any:
        return {"a": "x" * 70_000}

    async def work() -> None:
        bench.handle("a.strange", strange)
        bench.handle("a.large", large)
        worker = bench.worker()
        worker.start()
        for kind in ("a.strange", "a.large"):
            assert "its result" in (await bench.until(await bench.add(kind), "failed")).error
        await worker.stop(1)

    bench.store.run(work())
