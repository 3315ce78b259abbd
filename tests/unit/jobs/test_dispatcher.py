"""Which ids of jobs are sent to a broker, and when."""

from __future__ import annotations

import time

from tests.unit.jobs.kit import Bench, Broker, dispatcher, true

from portico.jobs import New
from portico.jobs import dispatcher as dispatching


def test_the_head_of_a_queue_is_sent_by_priority_and_the_rest_when_there_is_room(bench: Bench) -> None:
    async def work() -> None:
        broker = Broker(room=3)
        async with bench.db.write() as session:
            ids = await bench.jobs.enqueue_many(
                session, [New("a.b", {}, priority=priority) for priority in (0, 5, 0, 9, 0)]
            )
        sender = dispatcher(bench, broker)
        sender.start()
        await true(lambda: len(broker.seen) == 3)
        assert broker.seen == [ids[3], ids[1], ids[0]]
        broker.kept.clear()
        await true(lambda: len(broker.seen) == 5)
        assert broker.seen[3:] == [ids[2], ids[4]]
        await sender.stop(0)

    bench.store.run(work())


def test_what_is_lost_is_sent_again_and_what_waits_when_its_time_comes(bench: Bench) -> None:
    async def work() -> None:
        broker = Broker()
        broker.down = True
        sender = dispatcher(bench, broker, lease=1.5)
        sender.start()
        late = await bench.add("a.b", delay=0.3)
        now = await bench.add("a.b")
        broker.down = False
        await true(lambda: {late, now} <= set(broker.seen))
        broker.kept.clear()
        await true(lambda: broker.seen.count(now) >= 2)
        assert (await bench.get(now)).state == "queued"
        await sender.stop(0)
        await sender.stop(0)

    bench.store.run(work())


def test_a_long_backlog_stays_in_the_table(bench: Bench) -> None:
    enough = dispatching.MOST

    async def work() -> None:
        broker = Broker(room=10 * enough)
        async with bench.db.write() as session:
            await bench.jobs.enqueue_many(session, [New("a.b", {}) for _ in range(2 * enough)])
        sender = dispatcher(bench, broker)
        sender.start()
        await true(lambda: len(broker.seen) >= enough)
        looks = time.monotonic() + 3 * dispatching.BUSY
        await true(lambda: time.monotonic() > looks)
        assert len(broker.seen) == len(set(broker.seen)) == enough
        await sender.stop(0)

    bench.store.run(work())
