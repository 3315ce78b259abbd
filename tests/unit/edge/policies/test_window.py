from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import context, exchange, lines, principal, refused

from portico.edge.exchange import Step
from portico.edge.policies.window import build


def window(count: int, seconds: int, by: str = "route") -> Step:
    return build({"count": count, "seconds": seconds, "by": by, "name": "w"}, context())


def passes(step: Step, now: float) -> bool:
    asked = exchange(now=now)
    assert step.peek is not None
    expected = step.peek(asked)
    answer = step.check(asked)
    assert (answer is None) == (expected is None)
    return answer is None


# Half of them on the edges of sub-windows and windows, where mistakes live.
instants = st.one_of(
    st.integers(0, 400).map(float),
    st.integers(0, 400 << 20).map(lambda ticks: ticks / (1 << 20)),
    st.integers(0, 400).map(lambda second: second + 1 - 2**-30),
)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 6), st.sampled_from([1, 7, 60]), st.lists(instants, max_size=80))
def test_never_above_and_at_most_a_sixtieth_early(count: int, seconds: int, times: list[float]) -> None:
    step = window(count, seconds)
    width = Fraction(seconds)
    passed: list[Fraction] = []
    for now in sorted(times):
        at = Fraction(now)
        admitted = passes(step, now)
        if admitted:
            passed.append(at)
            assert sum(at - each <= width for each in passed) <= count
        else:
            assert sum(at - each < width + width / 60 for each in passed) >= count


def test_a_whole_window_then_none_then_a_whole_window() -> None:
    step = window(100, 60)
    assert sum(passes(step, 10.0) for _ in range(150)) == 100
    assert not passes(step, 70.0)
    assert not passes(step, 70.99)
    assert sum(passes(step, 71.0) for _ in range(150)) == 100


def test_two_bursts_around_the_minute_are_one_window() -> None:
    step = window(10, 60)
    assert sum(passes(step, 59.9) for _ in range(20)) == 10
    assert sum(passes(step, 60.1) for _ in range(20)) == 0


def test_a_steady_stream_gets_the_whole_limit() -> None:
    step = window(60, 60)
    passed = sum(passes(step, second + 0.5) for second in range(6100))
    assert 6000 <= passed <= 6100


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    step = window(2, 60)
    assert passes(step, 100.0)
    assert passes(step, 20.0)
    assert not passes(step, 20.0)
    assert not passes(step, 160.0)
    assert passes(step, 161.0)


def test_what_the_caller_is_told() -> None:
    step = build({"count": 2, "seconds": 60, "by": "route", "name": "2/minute"}, context())
    first, third = exchange(now=0.25), exchange(now=30.5)
    assert step.check(first) is None
    told = lines(first.response_fields)
    assert told == {"ratelimit-policy": '"2/minute";q=2;w=60', "ratelimit": '"2/minute";r=1;t=61'}
    assert step.check(exchange(now=1.0)) is None
    answer = step.check(third)
    refused(answer, 429, "window_exceeded")
    told = lines(answer.fields)  # type: ignore[union-attr]
    assert (told["retry-after"], told["ratelimit"]) == ("31", '"2/minute";r=0;t=31')
    assert third.notes["limit"] == "2/minute"
    assert not passes(step, 30.5 + 30)
    assert passes(step, 30.5 + 31)


def test_callers_have_windows_of_their_own() -> None:
    step = window(1, 60, "tenant")
    assert step.check(exchange(principal=principal(tenant="a"))) is None
    assert step.check(exchange(principal=principal(tenant="b"))) is None
    refused(step.check(exchange(principal=principal("other", tenant="a"))), 429, "window_exceeded")
