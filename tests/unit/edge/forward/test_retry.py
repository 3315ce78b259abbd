"""Which requests may be tried again, and how many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.edge.forward.kit import exchange

from portico import contracts
from portico.edge.exchange import UNKNOWN_LENGTH
from portico.edge.forward.retry import CONNECT, FLOOR, RESET, Retries

DEFAULT = contracts.Retries()


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"])
@pytest.mark.parametrize("cause", [CONNECT, RESET, 502, 503, 504])
def test_idempotent_requests(method: bytes, cause: int) -> None:
    assert Retries(DEFAULT).allows(exchange(method), cause)


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"LOCK", b"get"])
def test_others_only_when_nothing_was_sent(method: bytes) -> None:
    retries = Retries(DEFAULT)
    assert retries.allows(exchange(method), CONNECT)
    assert not any(retries.allows(exchange(method), cause) for cause in (RESET, 502, 503, 504))


@pytest.mark.parametrize("length", [1, UNKNOWN_LENGTH])
def test_a_body_can_not_be_sent_twice(length: int) -> None:
    request = exchange(b"PUT")
    request.length = length
    assert not Retries(DEFAULT).allows(request, RESET)
    assert Retries(DEFAULT).allows(request, CONNECT)


def test_only_what_is_named() -> None:
    retries = Retries(contracts.Retries(on=("connect", "503", "429")))
    assert [cause for cause in (CONNECT, RESET, 429, 500, 502, 503, 504) if retries.allows(exchange(), cause)] == [
        CONNECT,
        429,
        503,
    ]


def test_attempts_are_tries_after_the_first() -> None:
    for attempts in range(4):
        retries = Retries(contracts.Retries(attempts=attempts))
        request = exchange()
        allowed = 0
        while retries.allows(request, RESET):
            allowed += 1
            request.tries += 1
        assert allowed == attempts


def test_never_after_an_answer_has_begun() -> None:
    request = exchange()
    request.responding = True
    assert not Retries(DEFAULT).allows(request, CONNECT)


def test_no_budget_no_retry() -> None:
    retries = Retries(contracts.Retries(budget=0.0))
    retries.recent.see(1.0)
    assert not any(retries.affords(1.0, cause) for cause in (CONNECT, RESET, 503))


@given(
    pauses=st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.3, 2.0]), min_size=1, max_size=300),
    budget=st.sampled_from([0.1, 0.2, 0.5, 1.0]),
)
def test_retries_stay_under_the_budget(pauses: list[float], budget: float) -> None:
    """Every request asks for as many retries as it gets: in no ten seconds are there more than share and floor give."""
    retries = Retries(contracts.Retries(attempts=10, budget=budget))
    now = 1000.0
    requests: list[float] = []
    retried: list[float] = []
    for pause in pauses:
        now += pause
        retries.recent.see(now)
        requests.append(now)
        while retries.affords(now, RESET) and len(retried) < 5000:
            retries.spend(now, RESET)
            retried.append(now)
        recent = [at for at in retried if at > now - 10.0 + 1.0]
        asked = [at for at in requests if at > now - 20.0]
        assert len(recent) <= budget * len(asked) + FLOOR * 11


def test_what_was_not_sent_costs_nothing() -> None:
    """A target that dies refuses at once all that come, often before anything is known of how many that are."""
    retries = Retries(DEFAULT)
    for _ in range(1000):
        assert retries.affords(1000.0, CONNECT)
        retries.spend(1000.0, CONNECT)
    assert sum(retries.affords(1000.0, RESET) and not retries.spend(1000.0, RESET) for _ in range(1000)) == FLOOR


def test_the_floor_is_ten_a_second() -> None:
    retries = Retries(DEFAULT)
    spent = 0
    for tick in range(500):
        now = 1000.0 + tick / 100
        if retries.affords(now, 503):
            retries.spend(now, 503)
            spent += 1
    assert spent == 5 * FLOOR
