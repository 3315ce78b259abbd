"""Enqueuing, looking, cancelling, trying again: on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.jobs.kit import Bench

from portico.errors import JobRefused, Missing
from portico.jobs import New
from portico.storage.ids import now, uuid7


def test_a_job_exists_when_its_transaction_is_committed_and_not_before(bench: Bench) -> None:
    async def work() -> None:
        async with bench.db.write() as session:
            gone = await bench.jobs.enqueue(session, "a.b", {"n": 1})
            await session.rollback()
        assert await bench.jobs.get(gone) is None
        id_ = await bench.add("a.b", {"n": 1}, owner="me", priority=3)
        found = await bench.get(id_)
        assert (found.state, found.payload, found.owner, found.priority, found.attempt) == (
            "queued",
            {"n": 1},
            "me",
            3,
            0,
        )

    bench.store.run(work())


def test_a_key_makes_one_job_of_many(bench: Bench) -> None:
    async def work() -> None:
        first = await bench.add("a.b", key="once")
        assert await bench.add("a.b", key="once") == first
        assert await bench.add("a.b", key="once", tenant="other") != first
        assert await bench.add("a.c", key="once") != first
        async with bench.db.write() as session:
            ids = await bench.jobs.enqueue_many(
                session, [New("a.b", {}, key="once"), New("a.b", {}), New("a.b", {}, key="x"), New("a.b", {}, key="x")]
            )
        assert ids[0] == first
        assert ids[2] == ids[3] != ids[1]

    bench.store.run(work())


def test_what_can_t_be_is_refused(bench: Bench) -> None:
    wrong = [
        {"kind": "Bad Kind"}, {"payload": {"a": "x" * 300_000}}, {"priority": 1001}, {"delay": -1.0},
        {"delay": 400 * 86400.0}, {"key": ""}, {"key": "k" * 129}, {"queue": "no queue"},
    ]  # fmt: skip

    async def work() -> None:
        for each in wrong:
            given = {"kind": "a.b", "payload": {}, **each}
            with pytest.raises(JobRefused):
                await bench.add(given.pop("kind"), given.pop("payload"), **given)

    bench.store.run(work())


def test_lists_have_pages_and_filters_and_know_tenants(bench: Bench) -> None:
    async def work() -> None:
        ids = [await bench.add("a.b", tenant="mine") for _ in range(5)]
        await bench.add("a.c", tenant="theirs", queue="other")
        page, cursor = await bench.jobs.list(tenant="mine", limit=3)
        rest, end = await bench.jobs.list(tenant="mine", limit=3, after=cursor)
        assert [each.id for each in page + rest] == ids[::-1]
        assert end is None
        assert [each.kind for each in (await bench.jobs.list(kind="a.c"))[0]] == ["a.c"]
        assert [each.kind for each in (await bench.jobs.list(queue="other"))[0]] == ["a.c"]
        assert (await bench.jobs.list(state="failed"))[0] == []
        assert await bench.jobs.get(ids[0], "theirs") is None
        with pytest.raises(Missing):
            await bench.jobs.cancel(ids[0], "theirs")

    bench.store.run(work())


def test_cancel_and_retry_of_what_does_not_run(bench: Bench) -> None:
    async def work() -> None:
        for delay in (0.0, 60.0):
            id_ = await bench.add("a.b", delay=delay)
            assert (await bench.jobs.cancel(id_)).state == "cancelled"
            assert (await bench.jobs.cancel(id_)).state == "cancelled"
            assert (await bench.jobs.retry(id_)).state == "queued"
            with pytest.raises(JobRefused):
                await bench.jobs.retry(id_)
        for strange in ("nothing", uuid7()):
            with pytest.raises(Missing):
                await bench.jobs.cancel(strange)

    bench.store.run(work())


def test_depth_and_age(bench: Bench) -> None:
    async def work() -> None:
        await bench.add("a.b")
        await bench.add("a.b", queue="other")
        await bench.add("a.b", delay=60)
        found, oldest = await bench.jobs.depth()
        assert found == {("default", "queued"): 1, ("other", "queued"): 1, ("default", "waiting"): 1, ("", "failed"): 0}
        assert 0 <= oldest < 60

    bench.store.run(work())


def test_a_time_that_is_over_is_now(bench: Bench) -> None:
    async def work() -> None:
        assert (await bench.get(await bench.add("a.b", at=now() - timedelta(hours=1)))).state == "queued"
        assert (await bench.get(await bench.add("a.b", at=now() + timedelta(hours=1)))).state == "waiting"

    bench.store.run(work())


def test_old_jobs_are_removed_with_their_attempts(bench: Bench) -> None:
    async def work() -> None:
        id_, other = await bench.add("a.b"), await bench.add("a.b")
        await bench.jobs.cancel(id_)
        assert await bench.jobs.prune(now() - timedelta(days=1)) == 0
        assert await bench.jobs.prune(now() + timedelta(days=1)) == 1
        assert await bench.jobs.get(id_) is None
        assert await bench.jobs.get(other) is not None

    bench.store.run(work())
