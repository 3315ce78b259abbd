"""Batches over a judge that fails, waits, or counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from portico.errors import StateUnavailable
from portico.identity.principal import Principal
from portico.services.detection.batch import ALL_AT_ONCE, AT_ONCE, BATCHES, Batches
from portico.services.detection.batch_schemas import Batch, BatchDetected
from portico.services.detection.judging import Judged, Question
from portico.services.problems import Refused

ADA = Principal("ada", "key", "default", ())


class Judge:
    """Fails as it is told; a text that says "wait" waits until `go` is set."""

    def __init__(self, failing: Callable[[str], Exception | None] = lambda _: None) -> None:
        self.failing = failing
        self.go = asyncio.Event()
        self.now = self.most = 0
        self.asked: list[Question] = []

    async def judge(self, question: Question) -> Judged:
        self.asked.append(question)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if question.text == "wait":
                await self.go.wait()
            error = self.failing(question.text)
            if error is not None:
                raise error
            return Judged(True, 0.9, ("injection",), "why", "stub")
        finally:
            self.now -= 1


def items(*texts: str) -> list[Any]:
    return list(Batch(requests=[{"id": str(at), "text": text} for at, text in enumerate(texts)]).requests)


@pytest.mark.parametrize("error", [StateUnavailable("away"), RuntimeError("a defect")])
def test_a_judge_that_fails_for_item_37_fails_no_other(error: Exception) -> None:
    judge = Judge(lambda text: error if text == "37" else None)
    counted: list[tuple[str, str]] = []
    batches = Batches(judge, lambda question, judged: counted.append((question.text, judged.engine)))
    found: BatchDetected = asyncio.run(batches.run(ADA, "r", items(*map(str, range(100)))))
    assert [each.id for each in found.results] == [str(at) for at in range(100) if at != 37]
    (failed,) = found.errors
    assert (failed.id, failed.index, failed.code) == ("37", 37, "detection_failed")
    assert str(error) not in failed.detail
    assert sorted(counted) == sorted((str(at), "stub") for at in range(100) if at != 37)
    assert found.counts.model_dump() == {"total": 100, "succeeded": 99, "failed": 1, "malicious": 99}


def test_texts_are_judged_together_but_under_a_cap_and_callers_have_a_few_batches() -> None:
    async def work() -> None:
        judge = Judge()
        batches = Batches(judge)
        mine = [asyncio.create_task(batches.run(ADA, "r", items(*["wait"] * 50))) for _ in range(BATCHES)]
        while judge.now < ALL_AT_ONCE:
            await asyncio.sleep(0)
        with pytest.raises(Refused, match="under way"):
            await batches.run(ADA, "r", items("a"))
        other = asyncio.create_task(batches.run(Principal("bob", "key", "default", ()), "r", items("a")))
        for _ in range(100):
            await asyncio.sleep(0)
        assert judge.now == judge.most == ALL_AT_ONCE
        judge.go.set()
        found = await asyncio.gather(*mine, other)
        assert [len(each.results) for each in found] == [50] * BATCHES + [1]
        alone = Judge()
        one = asyncio.create_task(Batches(alone).run(ADA, "r", items(*["wait"] * 100)))
        while alone.now < AT_ONCE:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert alone.most == AT_ONCE
        one.cancel()
        await asyncio.wait({one})
        assert alone.now == 0, "whoever leaves ends its work"
        assert len((await batches.run(ADA, "r", items("a"))).results) == 1, "and frees its place"

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_judge_is_told_whose_text_it_is() -> None:
    judge = Judge()
    asyncio.run(Batches(judge).run(Principal("ada", "key", "acme", ()), "req", items("a")))
    (asked,) = judge.asked
    assert (asked.tenant, asked.owner, asked.request_id, asked.threshold) == ("acme", "key:ada", "req", 0.6)


@pytest.mark.parametrize("place", ["item", "config"])
def test_an_object_of_very_many_names_is_told_in_one_sentence(place: str) -> None:
    names = {f"k{number}": 1 for number in range(10_000)}
    item: dict[str, Any] = {"id": "odd", "text": "a"}
    item |= names if place == "item" else {"config": names}
    asked = Batch(requests=[item, {"id": "even", "text": "a"}]).requests
    found = asyncio.run(Batches(Judge()).run(ADA, "r", list(asked)))
    assert [each.id for each in found.results] == ["even"]
    (error,) = found.errors
    assert (error.id, error.index, error.code) == ("odd", 0, "invalid_request")
    assert "32 names" in error.detail
