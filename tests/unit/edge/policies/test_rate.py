from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import context, exchange, lines, principal, refused

from portico.edge.exchange import Step
from portico.edge.policies.limits import TICKS
from portico.edge.policies.rate import build


def rate(tokens: int, seconds: int, burst: int, by: str = "route") -> Step:
    return build({"tokens": tokens, "seconds": seconds, "burst": burst, "by": by, "name": "r"}, context())


def passes(step: Step, now: float) -> bool:
    asked = exchange(now=now)
    assert step.peek is not None
    expected = step.peek(asked)
    answer = step.check(asked)
    assert (answer is None) == (expected is None)
    return answer is None


# Instants that a clock in floating point shows exactly, so that fractions are the truth about them.
instants = st.integers(0, 40 << 20).map(lambda ticks: ticks / (1 << 20))


class Reference:
    """A bucket that is filled continuously, in fractions."""

    def __init__(self, tokens: int, seconds: int, burst: int) -> None:
        self.rate = Fraction(tokens, seconds)
        self.burst = Fraction(burst)
        self.level = Fraction(burst)
        self.last = Fraction(0)

    def take(self, now: Fraction) -> bool:
        self.level = min(self.burst, self.level + (now - self.last) * self.rate)
        self.last = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 50), st.sampled_from([1, 3, 7, 60]), st.integers(1, 8), st.lists(instants, max_size=80))
def test_it_is_a_bucket_that_refills_exactly(tokens: int, seconds: int, burst: int, times: list[float]) -> None:
    step = rate(tokens, seconds, burst)
    reference = Reference(tokens, seconds, burst)
    for now in sorted(times):
        assert passes(step, now) == reference.take(Fraction(now))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50), st.sampled_from([1, 7, 60]), st.integers(1, 8), st.lists(instants, max_size=80))
def test_never_more_than_burst_and_rate_in_any_span(tokens: int, seconds: int, burst: int, times: list[float]) -> None:
    step = rate(tokens, seconds, burst)
    passed = [now for now in sorted(times) if passes(step, now)]
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = Fraction(passed[last]) - Fraction(passed[first])
            assert last - first + 1 <= burst + span * Fraction(tokens, seconds)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-9, 1e8), st.integers(1, 100), st.integers(1, 20))
def test_on_any_clock_a_whole_bucket_and_then_one_at_a_time(start: float, tokens: int, burst: int) -> None:
    step = rate(tokens, 60, burst)
    assert [passes(step, start) for _ in range(burst + 1)] == [True] * burst + [False]
    period = 60 / tokens
    assert not passes(step, start + period * 0.99)
    assert passes(step, start + period * 1.01)
    assert not passes(step, start + period * 1.02)


def test_it_refills_at_the_very_instant() -> None:
    step = rate(3, 1, 1)
    third = -(-TICKS // 3)
    assert passes(step, 0.0)
    assert not passes(step, (third - 1) / TICKS)
    assert passes(step, third / TICKS)


def test_a_million_requests_do_not_drift() -> None:
    step = rate(3, 1, 1)
    passed = sum(step.check(exchange(now=tick / 16)) is None for tick in range(16 * 2000))
    assert passed in (5334, 5333)  # every sixth sixteenth: 6/16 s is the first instant after 1/3 s


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    step = rate(1, 1, 1)
    assert passes(step, 100.0)
    assert not passes(step, 99.0)
    assert not passes(step, 100.9)
    assert passes(step, 101.0)


def test_what_the_caller_is_told() -> None:
    step = build({"tokens": 60, "seconds": 60, "burst": 2, "by": "route", "name": "60/minute"}, context())
    first, second, third = exchange(), exchange(), exchange(now=0.5)
    assert step.check(first) is None
    told = lines(first.response_fields)
    assert told == {"ratelimit-policy": '"60/minute";q=60;w=60', "ratelimit": '"60/minute";r=1;t=1'}
    assert step.check(second) is None
    assert lines(second.response_fields)["ratelimit"] == '"60/minute";r=0;t=2'
    answer = step.check(third)
    problem = refused(answer, 429, "rate_limited")
    assert "60/minute" in problem["detail"]
    told = lines(answer.fields)  # type: ignore[union-attr]
    assert told["retry-after"] == "1"
    assert told["ratelimit"] == '"60/minute";r=0;t=1'
    assert told["ratelimit-policy"] == '"60/minute";q=60;w=60'
    assert third.notes["limit"] == "60/minute"
    assert third.response_fields == b""


@pytest.mark.parametrize(("tokens", "seconds", "retry"), [(1, 60, 60), (1, 3600, 3600), (1000, 1, 1), (2, 3, 2)])
def test_waiting_retry_after_is_enough_and_a_second_less_is_not(tokens: int, seconds: int, retry: int) -> None:
    step = rate(tokens, seconds, 1)
    assert passes(step, 0.0)
    answer = step.check(exchange())
    assert lines(answer.fields)["retry-after"] == str(retry)  # type: ignore[union-attr]
    assert retry == 1 or not passes(step, retry - 1.0)
    assert passes(step, float(retry))


def test_callers_have_buckets_of_their_own() -> None:
    step = rate(1, 60, 1, "principal")
    for name in ("ada", "bob", "cy"):
        assert step.check(exchange(principal=principal(name))) is None
        refused(step.check(exchange(principal=principal(name))), 429, "rate_limited")
