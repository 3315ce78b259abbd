"""The breaker of an engine, the budget of tries, and the reading of answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portico.errors import EngineFailed
from portico.services.detection.engines.breaker import FAILURES, SPARED, WINDOW, Breaker, Budget
from portico.services.detection.engines.wire import LONGEST, ask, read

GOOD = {"is_malicious": True, "confidence": 0.5, "threat_types": []}


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_when_enough_calls_fail_and_they_are_half_of_all() -> None:
    breaker = Breaker(Clock())
    for _ in range(FAILURES):
        breaker.succeeded()
    assert [breaker.failed() for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    assert breaker.open
    assert not breaker.failed()  # it has opened before


def test_a_few_failures_among_many_calls_open_nothing() -> None:
    breaker = Breaker(Clock())
    for _ in range(100):
        breaker.succeeded()
        breaker.succeeded()
        assert not breaker.failed()


def test_failures_are_forgotten_with_time_and_when_all_is_well() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES * 3):
        assert not breaker.failed()
        clock.now += WINDOW / (FAILURES - 1)
    for _ in range(FAILURES):
        breaker.failed()
    breaker.close()
    assert not breaker.open
    assert not breaker.failed()


def test_a_budget_allows_a_share_of_calls_to_be_made_again() -> None:
    budget = Budget()
    assert sum(budget.take() for _ in range(100)) == SPARED
    taken = 0
    for _ in range(100):
        budget.earn()
        taken += budget.take()
    assert 19 <= taken <= 20


def test_a_text_is_sent_as_it_is() -> None:
    assert json.loads(ask("ü 字 🎉\n", 0.25)) == {
        "text": "ü 字 🎉\n",
        "config": {"confidence_threshold": 0.25, "detailed_response": True},
    }


@pytest.mark.parametrize("confidence", [0, 1, 0.25, 1.0])
def test_confidences_from_0_to_1_are_read(confidence: float) -> None:
    found = read(json.dumps({**GOOD, "confidence": confidence}).encode())
    assert (found.confidence, found.reason) == (confidence, "")


def test_threats_are_told_once_and_only_known_ones() -> None:
    threats = ["injection", "jailbreak", "injection", "toxicity"]
    assert read(json.dumps({**GOOD, "threat_types": threats}).encode()).threat_types == ("injection", "jailbreak")


def test_a_long_reason_is_cut() -> None:
    assert read(json.dumps({**GOOD, "reason": "x" * 10_000}).encode()).reason == "x" * LONGEST + "…"


@pytest.mark.parametrize("changed", [{"confidence": 1.0001}, {"confidence": None}, {"is_malicious": 1}, {"reason": 1}])
def test_anything_else_is_a_failure_that_counts(changed: dict[str, Any]) -> None:
    with pytest.raises(EngineFailed) as failed:
        read(json.dumps({**GOOD, **changed}).encode())
    assert (failed.value.word, failed.value.blamed, failed.value.late) == ("nonsense", True, False)
