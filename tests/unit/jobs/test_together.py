"""Jobs that end together, and what is written when one fails for good."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.unit.jobs.kit import QUICK, Bench, true

from portico.errors import GiveUp, LeaseLost
from portico.jobs import Job
from portico.jobs.claims import Claim
from portico.jobs.together import ending
from portico.storage.group import Group


def test_jobs_that_succeed_together_do_so_with_their_effects(bench: Bench) -> None:
    groups: list[int] = []

    async def end(session: AsyncSession, jobs: Any) -> list[Exception | None]:
        async with ending(session, bench.db, [(job, {"told": job.payload["n"]}) for job in jobs]) as held:
            for id_ in sorted(held):
                await bench.jobs.enqueue(session, "a.made", {}, owner=id_, queue="nobody")
        groups.append(len(jobs))
        return [None if job.id in held else LeaseLost("lost") for job in jobs]

    async def work() -> None:
        group: Group[AsyncSession, Job, None] = Group(bench.db.write, end)

        async def run(job: Job) -> None:
            await group.add(job)

        bench.handle("a.b", run)
        made = [await bench.add("a.b", {"n": number}) for number in range(40)]
        worker = bench.worker(default=20)
        worker.start()
        for number, id_ in enumerate(made):
            assert (await bench.until(id_, "succeeded", "failed")).result == {"told": number}
        await worker.stop(1)
        effects, _ = await bench.jobs.list(kind="a.made", limit=100)
        assert sorted(each.owner for each in effects) == sorted(made)
        assert max(groups) > 1

    bench.store.run(work())


def test_those_that_are_another_worker_s_by_now_are_left_alone(bench: Bench) -> None:
    jobs: dict[str, Job] = {}
    rolled_back = False

    async def run(job: Job) -> None:
        jobs[job.payload["n"]] = job
        await true(lambda: len(jobs) == 3 and rolled_back)

    async def work() -> None:
        nonlocal rolled_back
        bench.handle("a.b", run)
        made = {name: await bench.add("a.b", {"n": name}) for name in "abc"}
        worker = bench.worker(lease=1000)
        worker.start()
        await true(lambda: len(jobs) == 3)
        async with bench.db.write() as session:
            connection = await session.connection()
            await connection.exec_driver_sql(f"UPDATE jobs SET fence = fence + 1 WHERE id = '{made['b']}'")
        both = [(jobs["a"], {"a": 1}), (jobs["b"], {"b": 1})]

        async def fail() -> None:
            async with bench.db.write() as session, ending(session, bench.db, both):
                await bench.jobs.enqueue(session, "a.made", {}, queue="nobody")
                raise RuntimeError("no effect")

        with pytest.raises(RuntimeError):
            await fail()
        assert not jobs["a"].finished
        assert (await bench.get(made["a"])).state == "running"
        assert (await bench.jobs.list(kind="a.made"))[0] == []
        async with bench.db.write() as session, ending(session, bench.db, both) as held:
            assert held == {made["a"]}
        assert (jobs["a"].finished, jobs["b"].finished) == (True, False)
        found = await bench.get(made["a"])
        assert (found.state, found.result) == ("succeeded", {"a": 1})
        assert (await bench.get(made["b"])).state == "running"
        rolled_back = True
        await bench.until(made["c"], "succeeded")
        await worker.stop(1)

    bench.store.run(work())


@pytest.mark.parametrize("defect", [False, True])
def test_giving_up_is_told_once_in_the_transaction_that_says_so(bench: Bench, defect: bool) -> None:
    told: list[tuple[int, str]] = []

    async def run(job: Job) -> None:
        if job.payload.get("for good"):
            raise GiveUp("it is of no use")
        raise GiveUp("again") if job.attempt > 3 else ValueError("a defect")

    async def given_up(session: AsyncSession, claim: Claim, error: str) -> None:
        told.append((claim.attempt, error))
        await bench.jobs.enqueue(session, "a.made", {}, owner=claim.id, queue="nobody")
        if defect:
            raise RuntimeError("it can't be told")

    async def work() -> None:
        bench.handle("a.b", run, given_up=given_up, backoff=QUICK)
        worker = bench.worker()
        worker.start()
        first = await bench.until(await bench.add("a.b"), "failed")
        assert (first.attempt, first.error) == (3, "ValueError")
        second = await bench.until(await bench.add("a.b", {"for good": True}), "failed")
        assert (second.attempt, second.error) == (1, "it is of no use")
        await worker.stop(1)
        assert told == [(3, "ValueError"), (1, "it is of no use")]
        effects = {each.owner for each in (await bench.jobs.list(kind="a.made"))[0]}
        assert effects == (set() if defect else {first.id, second.id})

    bench.store.run(work())
