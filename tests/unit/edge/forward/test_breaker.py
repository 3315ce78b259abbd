"""When the breaker of a target opens, tries it with one request, and closes."""

from __future__ import annotations

import pytest
from tests.unit.edge.forward.kit import exchange

from portico import contracts
from portico.edge.forward.breaker import CLOSED, HALF_OPEN, OPEN, Breaker

SPEC = contracts.Breaker(failure_ratio=0.5, min_requests=10, window=10.0, open_for=5.0)


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker(SPEC)
    changes = [breaker.failed(exchange(), now) for _ in range(10)]
    assert changes == [False] * 9 + [True]
    return breaker


def test_it_opens_at_the_ratio_and_not_before() -> None:
    breaker = Breaker(SPEC)
    for _ in range(11):
        breaker.passed(exchange(), 100.0)
    for _ in range(10):
        assert not breaker.failed(exchange(), 100.0)
    assert breaker.failed(exchange(), 100.0), "11 of 22"
    assert breaker.state == OPEN


def test_failures_older_than_the_window_do_not_count() -> None:
    breaker = Breaker(SPEC)
    for _ in range(9):
        breaker.failed(exchange(), 100.0)
    assert not breaker.failed(exchange(), 111.5)
    assert breaker.state == CLOSED


def test_it_stays_open_for_its_time_and_then_lets_exactly_one_through() -> None:
    breaker = opened()
    assert not breaker.due(104.9)
    assert breaker.due(105.0)
    probe = exchange()
    breaker.start_probe(probe)
    assert breaker.state == HALF_OPEN
    assert not breaker.due(200.0), "a second probe"
    assert not breaker.passed(exchange(), 106.0), "an older request decided"
    assert not breaker.failed(exchange(), 106.0)
    assert not breaker.failed(None, 106.0)
    assert breaker.state == HALF_OPEN
    assert breaker.passed(probe, 106.0)
    assert breaker.state == CLOSED
    assert not breaker.failed(exchange(), 106.0), "what went before is forgotten"


def test_a_probe_that_fails_opens_it_again() -> None:
    breaker = opened()
    probe = exchange()
    breaker.start_probe(probe)
    assert breaker.failed(probe, 106.0)
    assert breaker.state == OPEN
    assert not breaker.due(110.9)
    assert breaker.due(111.0)


def test_a_probe_whose_client_leaves_makes_room_for_another() -> None:
    breaker = opened()
    probe = exchange()
    breaker.start_probe(probe)
    breaker.left(exchange())
    assert not breaker.due(106.0)
    breaker.left(probe)
    assert breaker.due(106.0)


@pytest.mark.parametrize("ending", ["passed", "failed"])
def test_what_ends_while_it_is_open_changes_nothing(ending: str) -> None:
    breaker = opened()
    late = exchange()
    assert not (breaker.passed(late, 101.0) if ending == "passed" else breaker.failed(late, 101.0))
    assert breaker.state == OPEN
    assert breaker.until == 105.0
