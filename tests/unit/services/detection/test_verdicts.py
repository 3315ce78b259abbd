"""The counts of verdicts: written soon, kept while the database takes nothing, merged when there are many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.storage.kit import Store

from portico.errors import StorageError
from portico.services.detection import verdicts
from portico.services.detection.judging import Judged, Question
from portico.services.detection.verdicts import Verdicts
from portico.storage.tables.usage import DAY, MINUTE
from portico.storage.usage import Judgements, Usage
from portico.storage.usage.records import judged

NOW = 1_790_035_200 + 3 * 3600 + 95
END = NOW + DAY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store("sqlite:///portico.db", tmp_path) as made:
        yield made


def question(owner: str = "key:ada", tenant: str = "red") -> Question:
    return Question("a text", 0.6, tenant, owner, "r-1")


def verdict(confidence: float = 0.9, *, engine: str = "embedded", degraded: bool = False, hit: bool = False) -> Judged:
    return Judged(confidence >= 0.6, confidence, (), "", engine, degraded, hit)


def texts(store: Store) -> int:
    return judged(store.run(Judgements(store.db).totals(None, DAY, 0, END)).values()).texts


def test_what_was_counted_is_written_soon_and_the_rest_at_the_end(store: Store) -> None:
    async def work() -> None:
        made = Verdicts(store.db, lambda: NOW)
        made.start()
        made.count(question(), verdict(0.9, degraded=True))
        made.count(question(), verdict(0.1, hit=True))
        deadline = time.monotonic() + 20
        asked = Judgements(store.db)
        while not await asked.totals("red", DAY, 0, END):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        made.count(question("person:eve"), verdict(engine="other"))
        await made.stop()
        await made.stop()

    store.run(work())
    asked = Judgements(store.db)
    (ada,) = store.run(asked.series(store.run(Usage(store.db).callers("ada", "red")), MINUTE, 0, END)).values()
    assert (ada.texts, ada.malicious, ada.confidence, ada.degraded, ada.cached) == (2, 1, 1_000_000, 1, 1)
    assert list(store.run(asked.totals("red", MINUTE, 0, END))) == [NOW - NOW % 60]
    assert list(store.run(asked.total_engines("red", DAY, 0, END))) == ["embedded", "other"]
    assert texts(store) == 3


def test_nothing_is_lost_while_the_database_takes_nothing(store: Store) -> None:
    async def work() -> None:
        closed = store.database()
        made = Verdicts(closed, lambda: NOW)
        for _ in range(3):
            made.count(question(), verdict())
            with pytest.raises(StorageError):
                await made.write()
        await closed.open()
        try:
            await made.write()
        finally:
            await closed.close()

    store.run(work())
    assert texts(store) == 3


def test_what_is_counted_during_a_writing_waits_for_the_next(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Verdicts(store.db, lambda: NOW)
    written = 0
    add = verdicts.verdicts.add

    async def counting(*args: Any) -> None:
        nonlocal written
        written += 1
        made.count(question(), verdict())
        await add(*args)

    monkeypatch.setattr(verdicts.verdicts, "add", counting)
    made.count(question(), verdict())
    for so_far in (1, 2, 3):
        store.run(made.write())
        assert written == so_far
        assert texts(store) == so_far


def test_many_callers_are_merged_and_the_sum_stays_exact(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "CELLS", 5)
    made = Verdicts(store.db, lambda: NOW)
    for number in range(40):
        made.count(question(f"key:{number}"), verdict())
    store.run(made.write())
    assert texts(store) == 40
    (merged,) = store.run(Usage(store.db).callers("(merged)", "red"))
    (rest,) = store.run(Judgements(store.db).series([merged], DAY, 0, END)).values()
    assert rest.texts == 35
