from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import context, exchange, lines, principal, refused

from portico.edge.exchange import Step
from portico.edge.policies.quota import build

DAY = 86_400
MIDNIGHT = 1_700_006_400.0  # 2023-11-15T00:00:00Z


def quota(count: int, by: str = "route") -> Step:
    return build({"count": count, "by": by, "name": "q"}, context())


def passes(step: Step, wall: float) -> bool:
    asked = exchange(wall=wall)
    assert step.peek is not None
    expected = step.peek(asked)
    answer = step.check(asked)
    assert (answer is None) == (expected is None)
    return answer is None


def test_a_day_ends_at_midnight_utc() -> None:
    step = quota(2)
    assert [passes(step, MIDNIGHT - 0.001) for _ in range(3)] == [True, True, False]
    assert [passes(step, MIDNIGHT) for _ in range(3)] == [True, True, False]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.lists(st.floats(0, 4 * DAY - 1), max_size=60))
def test_each_day_has_its_quota(count: int, times: list[float]) -> None:
    step = quota(count)
    asked: Counter[int] = Counter()
    passed: Counter[int] = Counter()
    for offset in sorted(times):
        wall = MIDNIGHT + offset
        asked[int(wall) // DAY] += 1
        passed[int(wall) // DAY] += passes(step, wall)
    assert passed == {day: min(count, number) for day, number in asked.items()}


def test_a_clock_that_steps_back_does_not_give_the_day_again() -> None:
    step = quota(1)
    assert passes(step, MIDNIGHT + 1)
    assert not passes(step, MIDNIGHT - 1)
    assert not passes(step, MIDNIGHT + 2)


def test_what_the_caller_is_told() -> None:
    step = build({"count": 2, "by": "route", "name": "2/day"}, context())
    first, third = exchange(wall=MIDNIGHT), exchange(wall=MIDNIGHT + DAY - 1.5)
    assert step.check(first) is None
    told = lines(first.response_fields)
    assert told == {"ratelimit-policy": '"2/day";q=2;w=86400', "ratelimit": '"2/day";r=1;t=86400'}
    step.check(exchange(wall=MIDNIGHT))
    answer = step.check(third)
    refused(answer, 429, "quota_exceeded")
    assert lines(answer.fields)["retry-after"] == "2"  # type: ignore[union-attr]
    assert third.notes["limit"] == "2/day"


def test_callers_have_quotas_of_their_own() -> None:
    step = quota(1, "key")
    assert step.check(exchange(principal=principal("a"))) is None
    assert step.check(exchange(principal=principal("b"))) is None
    refused(step.check(exchange(principal=principal("a"))), 429, "quota_exceeded")
