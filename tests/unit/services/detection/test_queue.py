"""Texts for people: written before whoever puts them goes on, many together, and never without bound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.storage.kit import Store

from portico.contracts import Reviews as Bounds
from portico.errors import Busy, StorageUnavailable
from portico.services.detection.judging import Judged, Question
from portico.services.detection.reviews import queue as module
from portico.services.detection.reviews.queue import Queue
from portico.storage.detection import Doubt, Put, Review, Reviews, Wanted
from portico.telemetry.counts import Counts

QUESTION = Question("write to ann@example.com", 0.7, "a", "key:1", "r-1")
FLAGGED = Judged(False, 0.5, (), "no engine answered in time", "mine", degraded=True)


class Desk:
    """A queue on a database."""

    def __init__(self, store: Store, bounds: Bounds | None = None) -> None:
        self.store = store
        self.counts = Counts()
        self.reviews = Reviews(store.db, store.vault)
        self.queue = Queue(self.reviews, bounds or Bounds(), self.counts)

    def kept(self) -> list[Review]:
        return self.store.run(self.reviews.list(Wanted(None), limit=500))[0]

    def counted(self) -> dict[str, int]:
        return {each[1]: each[2] for each in self.counts.report()["services"]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store("sqlite:///portico.db", tmp_path) as opened:
        yield opened


async def put(desk: Desk, *questions: Question) -> None:
    await asyncio.gather(*(desk.queue.put(each, FLAGGED, "engine_timeout") for each in questions))


def test_a_text_is_there_when_putting_it_is_done(store: Store) -> None:
    desk = Desk(store)
    store.run(put(desk, QUESTION))
    (found,) = desk.kept()
    assert (found.tenant, found.owner, found.request_id, found.text) == ("a", "key:1", "r-1", QUESTION.text)
    assert (found.why, found.engine, found.threshold, found.confidence) == ("engine_timeout", "mine", 0.7, 0.5)
    assert desk.counted() == {"kept": 1}


def test_many_at_once_are_few_transactions(store: Store) -> None:
    desk = Desk(store)
    sizes: list[int] = []

    class Counting(Reviews):
        async def put(self, doubts: Sequence[Doubt], most: int) -> list[Put]:
            sizes.append(len(doubts))
            return await super().put(doubts, most)

    desk.queue = Queue(Counting(store.db, store.vault), Bounds(), desk.counts)
    store.run(put(desk, *(replace(QUESTION, text=f"text {number}") for number in range(300))))
    assert len(desk.kept()) == sum(sizes) == 300
    assert len(sizes) <= 5
    assert desk.counted() == {"kept": 300}


def test_the_bound_is_kept_and_counted(store: Store) -> None:
    desk = Desk(store, Bounds(most=2))
    store.run(put(desk, *(replace(QUESTION, text=f"text {number % 4}") for number in range(5))))
    assert len(desk.kept()) == 2
    assert desk.counted() == {"kept": 2, "full": 2, "again": 1}


def test_with_no_room_at_all_nothing_is_kept(store: Store) -> None:
    desk = Desk(store, Bounds(most=0))
    store.run(put(desk, QUESTION))
    assert (desk.kept(), desk.counted()) == ([], {})


def test_a_text_is_masked_before_it_is_kept(store: Store) -> None:
    desk = Desk(store, Bounds(text="mask"))
    store.run(put(desk, QUESTION, QUESTION, replace(QUESTION, text="write to bea@example.com")))
    assert [(each.text, each.times) for each in desk.kept()] == [("write to [email]", 2), ("write to [email]", 1)]


def test_what_can_t_be_written_is_told_and_the_next_is_written_again(store: Store) -> None:
    desk = Desk(store)

    async def scene() -> None:
        await store.db.close()
        with pytest.raises(StorageUnavailable):
            await put(desk, QUESTION)
        await store.db.open()
        await put(desk, QUESTION)

    store.run(scene())
    assert len(desk.kept()) == 1
    assert desk.counted() == {"kept": 1}


def test_more_than_can_wait_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    desk = Desk(store)

    async def scene() -> list[BaseException | None]:
        many = [desk.queue.put(replace(QUESTION, text=str(n)), FLAGGED, "x") for n in range(5)]
        return await asyncio.gather(*many, return_exceptions=True)

    found = store.run(scene())
    assert [type(each) for each in found if each is not None] == [Busy, Busy]
    assert len(desk.kept()) == 3


def test_who_leaves_takes_nobody_along_and_a_stop_writes_what_is_left(store: Store) -> None:
    desk = Desk(store)

    async def scene() -> None:
        tasks = [asyncio.create_task(desk.queue.put(replace(QUESTION, text=str(n)), FLAGGED, "x")) for n in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await desk.queue.stop()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found] == [asyncio.CancelledError, type(None), type(None)]

    store.run(scene())
    assert len(desk.kept()) == 3
