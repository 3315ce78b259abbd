"""Jobs by message: what a worker does with what it is told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.unit.jobs.kit import Bench, Broker, dispatcher, true

from portico import contracts
from portico.jobs import Backoff, Job, JobError
from portico.jobs.attempts import Attempts
from portico.jobs.crew import Crew
from portico.jobs.inbox import Inbox, MessageWorker
from portico.storage.ids import uuid7


def messages(bench: Bench, lease: float = 60.0) -> MessageWorker:
    return MessageWorker(bench.db, bench.wake, Attempts(bench.db, bench.handlers, bench.processes), lease)


def test_a_told_worker_claims_that_job_and_no_other_and_each_once(bench: Bench) -> None:
    ran: list[str] = []
    go_on = asyncio.Event()

    async def run(job: Job) -> dict[str, Any]:
        ran.append(job.id)
        await go_on.wait()
        return {"fence": job.token}

    async def work() -> None:
        bench.handle("a.b", run)
        one, two, untold = [await bench.add("a.b") for _ in range(3)]
        workers = messages(bench), messages(bench)
        for each in workers:
            each.start()
        told = [asyncio.create_task(each.work(id_)) for id_ in (one, two, one) for each in workers]
        await true(lambda: len(ran) == 2)
        assert await workers[0].work(uuid7()) is True, "there is no such job"
        assert await workers[0].work("'; DROP TABLE jobs") is True
        go_on.set()
        assert all(await asyncio.gather(*told))
        for id_ in (one, two):
            assert (await bench.until(id_, "succeeded")).result == {"fence": 1}
        assert await workers[1].work(one) is True, "it is over"
        for each in workers:
            await each.stop(1)
        assert sorted(ran) == sorted([one, two])
        assert (await bench.get(untold)).state == "queued"

    bench.store.run(work())


def test_a_process_with_an_inbox_tells_which_queues_there_are(bench: Bench) -> None:
    async def run(job: Job) -> None:
        pass

    async def work() -> None:
        bench.handle("a.b", run, queue="letters")
        inbox = Inbox()
        queues = (contracts.Queue("default", 3), contracts.Queue("webhooks", 0))
        settings = contracts.Jobs(queues, executor="celery", broker="redis://127.0.0.1:1/0")
        crew = Crew(bench.db, bench.jobs, bench.handlers, bench.wake, settings, inbox=inbox)
        assert inbox.queues == {"default": 3, "letters": 10, "webhooks": 0}
        assert inbox.worker is crew.worker
        crew.start()
        id_ = await bench.add("a.b")
        assert await inbox.worker.work(id_) is True
        await bench.until(id_, "succeeded")
        await crew.stop()

    bench.store.run(work())


def test_a_told_worker_that_stops_gives_back_what_runs_and_takes_no_more(bench: Bench) -> None:
    begun = asyncio.Event()

    async def run(job: Job) -> None:
        begun.set()
        await asyncio.sleep(60)

    async def work() -> None:
        bench.handle("a.b", run)
        worker = messages(bench)
        worker.start()
        id_ = await bench.add("a.b")
        told = asyncio.create_task(worker.work(id_))
        await begun.wait()
        await worker.stop(0.05)
        assert await told is True
        assert ((await bench.get(id_)).state, (await bench.get(id_)).attempt) == ("queued", 0)
        assert await worker.work(id_) is False

    bench.store.run(work())


def test_a_told_worker_taken_for_dead_lets_go_and_its_threads_are_free(bench: Bench) -> None:
    begun = asyncio.Event()

    async def run(job: Job) -> None:
        begun.set()
        if job.attempt == 1:
            await asyncio.sleep(60)

    async def work() -> None:
        bench.handle("a.b", run)
        worker = messages(bench, lease=1.2)
        worker.start()
        id_ = await bench.add("a.b")
        told = asyncio.create_task(worker.work(id_))
        await begun.wait()
        name = worker.name
        async with bench.db.write() as session:
            await worker._peers.leave(session, name)
        assert await told is True
        assert worker.name != name
        sent = Broker()
        sender = dispatcher(bench, sent, lease=0.6)
        sender.start()
        await true(lambda: sent.kept)
        assert await worker.work(sent.kept[0]) is True
        assert (await bench.until(id_, "succeeded")).attempt == 2
        await sender.stop(0)
        await worker.stop(1)

    bench.store.run(work())


def test_a_running_job_is_cancelled_and_a_failed_one_tried_again_by_a_new_message(bench: Bench) -> None:
    async def run(job: Job) -> None:
        if job.payload.get("fails"):
            raise JobError("as it happens")
        await asyncio.sleep(60)

    async def work() -> None:
        bench.handle("a.b", run, backoff=Backoff((0.05,), jitter=0.0))
        worker, broker = messages(bench), Broker()
        sender = dispatcher(bench, broker)
        worker.start()
        sender.start()

        async def pump() -> None:
            while True:
                while broker.kept:
                    told.append(asyncio.create_task(worker.work(broker.kept.pop(0))))
                await asyncio.sleep(0.005)

        told: list[asyncio.Task[bool]] = []
        pumping = asyncio.create_task(pump())
        long = await bench.add("a.b")
        await bench.until(long, "running")
        await bench.jobs.cancel(long)
        await bench.until(long, "cancelled")
        began = time.monotonic()
        failed = await bench.until(await bench.add("a.b", {"fails": True}), "failed")
        assert failed.attempt == 2
        assert time.monotonic() - began < 10, "well before the first message would be taken for lost"
        before = broker.seen.count(failed.id)
        await bench.jobs.retry(failed.id)
        await true(lambda: broker.seen.count(failed.id) == before + 2)
        await bench.until(failed.id, "failed")
        pumping.cancel()
        await sender.stop(0)
        await worker.stop(1)

    bench.store.run(work())
