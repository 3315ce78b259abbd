"""Limits of costs: an estimate is reserved, the truth is settled, and what is left is never below zero."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import WALL, context, exchange, lines, principal, refused

from portico.edge.admit import admit, settle
from portico.edge.exchange import Exchange, Step
from portico.edge.policies import quota, rate, window
from portico.edge.policies.limits import RESERVED
from portico.edge.policies.require import WHY
from portico.edge.tap import UNTOLD

BUILD = {"rate": rate.build, "window": window.build, "quota": quota.build}
CONFIG = {"rate": {"tokens": 60, "seconds": 60, "burst": 100}, "window": {"count": 100, "seconds": 60},
          "quota": {"count": 100}}  # fmt: skip


def made(kind: str, estimate: int = 10, most: int = 1000, source: str = "tokens", **config: Any) -> Step:
    cost = {"from": source, "estimate": estimate, "most": most}
    return BUILD[kind]({**CONFIG[kind], "by": "key", "name": kind, "cost": cost, **config}, context())


def ask(step: Step, now: float = 0.0, who: str = "ada") -> Exchange | None:
    asked = exchange(now=now, wall=WALL + now, principal=principal(who))
    assert step.peek is not None
    looked = exchange(now=now, wall=WALL + now, principal=principal(who))
    expected = step.peek(looked)
    answer = admit(asked, [step])
    assert (expected is None) == (answer is None), "a look tells what will be"
    if answer is not None:
        refused(
            answer, 429, {"rate": "rate_limited", "window": "window_exceeded", "quota": "quota_exceeded"}[step.name]
        )
        return None
    assert looked.response_fields == asked.response_fields
    return asked


def end(step: Step, asked: Exchange, cost: int | None, now: float = 0.0, upstream: bytes = b"u") -> None:
    asked.upstream = upstream
    asked.ended = now
    assert asked.tap is not None
    if cost is not None:
        asked.tap.tokens = cost
    assert settle(asked, [step]) is None


def left(step: Step, now: float = 0.0) -> int:
    """What would be left for a request that needs nothing: the estimate is in what `r` says."""
    looked = exchange(now=now, wall=WALL + now, principal=principal())
    assert step.peek is not None
    assert step.peek(looked) is None
    return int(lines(looked.response_fields)["ratelimit"].split(";r=")[1].split(";")[0]) + 10


@pytest.mark.parametrize("kind", BUILD)
@pytest.mark.parametrize(("cost", "counted"), [(3, 3), (0, 0), (10, 10), (60, 60), (None, 10), (UNTOLD, 10)])
def test_the_estimate_is_reserved_and_the_truth_is_settled(kind: str, cost: int | None, counted: int) -> None:
    step = made(kind)
    asked = ask(step)
    assert asked is not None
    told = lines(asked.response_fields)
    assert told["ratelimit"].startswith(f'"{kind}";r=90;t=')
    assert told["ratelimit-policy"].endswith(';qu="tokens"')
    end(step, asked, cost)
    assert left(step) == 100 - counted
    assert RESERVED not in asked.notes
    end(step, asked, 50)
    assert left(step) == 100 - counted, "settled once"


@pytest.mark.parametrize("kind", BUILD)
def test_never_below_zero_and_a_debt_is_paid_first(kind: str) -> None:
    step = made(kind)
    first = ask(step)
    assert first is not None
    end(step, first, 250)
    assert ask(step) is None
    pays = {"rate": 160.0, "window": 61.0, "quota": 86_400.0}[kind]
    assert ask(step, pays - 1.1 if kind != "quota" else 10.0) is None
    assert ask(step, pays) is not None


@pytest.mark.parametrize("kind", BUILD)
def test_one_answer_costs_at_most_what_is_configured(kind: str) -> None:
    step = made(kind, most=40)
    asked = ask(step)
    assert asked is not None
    end(step, asked, 10**14)
    assert left(step) == 60


@pytest.mark.parametrize("kind", BUILD)
def test_what_never_reached_an_upstream_costs_nothing(kind: str) -> None:
    step = made(kind)
    asked = ask(step)
    assert asked is not None
    end(step, asked, None, upstream=b"")
    assert left(step) == 100


@pytest.mark.parametrize("kind", BUILD)
def test_refused_where_less_is_left_than_the_estimate(kind: str) -> None:
    step = made(kind, estimate=30)
    assert [ask(step) is not None for _ in range(5)] == [True, True, True, False, False]


def test_a_refusal_by_a_later_limit_gives_the_estimate_back() -> None:
    shared = context(limits=2)
    cost = {"from": "tokens", "estimate": 10, "most": 100}
    for kind in BUILD:
        first = BUILD[kind]({**CONFIG[kind], "by": "key", "name": kind, "cost": cost}, shared)
        closed = quota.build({"count": 0, "by": "key", "name": "closed"}, shared)
        for _ in range(30):
            asked = exchange(principal=principal())
            refused(admit(asked, [first, closed]), 429, "quota_exceeded")
            settle(asked, [first, closed])
        assert left(first) == 100


def test_the_cost_of_a_field_and_of_tokens_side_by_side() -> None:
    shared = context(limits=2)
    steps = [
        window.build(
            {
                "count": 100,
                "seconds": 60,
                "by": "key",
                "name": name,
                "cost": {"from": source, "estimate": 10, "most": 99},
            },
            shared,
        )
        for name, source in (("a", "tokens"), ("b", "header:x-cost"))
    ]
    asked = exchange(principal=principal())
    assert admit(asked, steps) is None
    assert asked.tap is not None
    assert asked.request_edit is not None
    assert asked.request_edit.apply(b"\r\nAccept-Encoding: gzip\r\nA: b") == b"\r\nA: b\r\nAccept-Encoding: identity"
    asked.tap.tokens = 20
    asked.tap.asked[b"x-cost"] = 33
    asked.upstream = b"u"
    settle(asked, steps)
    assert [left(step) for step in steps] == [80, 67]


def test_a_day_that_ended_meanwhile() -> None:
    """What is over is not given back; what is charged late is charged to the day on which it is known."""
    step = made("quota")
    midnight = 86_400 - WALL % 86_400
    first, second = ask(step, midnight - 1), ask(step, midnight - 1)
    assert first is not None
    assert second is not None
    assert ask(step, midnight + 1) is not None
    end(step, first, 3, midnight + 1)
    assert left(step, midnight + 1) == 90
    end(step, second, 50, midnight + 1)
    assert left(step, midnight + 1) == 50


def test_a_bucket_that_was_forgotten_meanwhile() -> None:
    for kind in ("rate", "window"):
        step = made(kind)
        first, second = ask(step), ask(step)
        assert first is not None
        assert second is not None
        for number in range(100):  # looks sweep
            ask(step, 500.0, f"other{number}")
        end(step, first, 3, 500.0)
        assert left(step, 500.0) == 100
        end(step, second, 50, 500.0)
        assert left(step, 500.0) == 60


def test_explain_says_what_is_reserved() -> None:
    for kind in BUILD:
        step = made(kind, source="header:X-Cost")
        looked = exchange(principal=principal())
        assert step.peek is not None
        assert step.peek(looked) is None
        assert looked.notes[WHY] == ["10 is reserved, until the answer's x-cost says how much it was (at most 1000)"]


class Admitted:
    def __init__(self, asked: Exchange, at: int, estimate: int, cost: int) -> None:
        self.asked = asked
        self.at = at
        self.estimate = estimate
        self.cost = cost
        self.settled = -1  # the number of the event
        self.ended = 0  # milliseconds


actions = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "settle", "wait"]),
        st.integers(0, 40) | st.sampled_from([0, 1, 10, 100, 500]),
        st.integers(0, 5),
    ),
    max_size=120,
)


def play(step: Step, estimate: int, story: list[tuple[str, int, int]]) -> list[tuple[int, Admitted]]:
    """What was admitted, each with the number of its event."""
    now = 0
    found: list[tuple[int, Admitted]] = []
    for number, (what, amount, which) in enumerate(story):
        if what == "wait":
            now += amount
        elif what == "ask":
            asked = ask(step, float(now))
            if asked is not None:
                found.append((number, Admitted(asked, now, estimate, amount)))
        else:
            under_way = [each for _, each in found if each.settled < 0]
            if under_way:
                each = under_way[which % len(under_way)]
                each.settled = number
                end(step, each.asked, each.cost, float(now))
    return found


def beyond(found: list[tuple[int, Admitted]], first: int, last: int) -> int:
    """What requests that are under way at the edges of a span may add: too much given back before, too little taken."""
    began, ended = found[first][0], found[last][0]
    before = [each for _, each in found[:first] if began < each.settled < ended]
    late = [each for _, each in found[first : last + 1] if not 0 <= each.settled < ended]
    given = sum(max(0, each.estimate - each.cost) for each in before)
    return given + sum(max(0, each.cost - each.estimate) for each in late)


@settings(max_examples=300, deadline=None)
@given(actions, st.sampled_from([1, 10, 25, 100]))
def test_a_rate_is_never_above_but_for_what_is_under_way(story: list[tuple[str, int, int]], estimate: int) -> None:
    found = play(made("rate", estimate, tokens=30), estimate, story)
    for first, (_, one) in enumerate(found):
        spent = 0
        for last in range(first, len(found)):
            spent += found[last][1].cost
            span = found[last][1].at - one.at
            assert spent <= 100 + Fraction(1, 2) * span + beyond(found, first, last)


@settings(max_examples=300, deadline=None)
@given(actions, st.sampled_from([1, 10, 25, 100]))
def test_a_window_is_never_above_but_for_what_is_under_way(story: list[tuple[str, int, int]], estimate: int) -> None:
    found = play(made("window", estimate), estimate, story)
    for first, (_, one) in enumerate(found):
        spent = 0
        for last in range(first, len(found)):
            if found[last][1].at - one.at > 60:
                break
            spent += found[last][1].cost
            late = [each for _, each in found[first : last + 1] if not 0 <= each.settled < found[last][0]]
            assert spent <= 100 + sum(max(0, each.cost - each.estimate) for each in late)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 130), max_size=60), st.sampled_from(list(BUILD)))
def test_one_at_a_time_is_exact(costs: list[int], kind: str) -> None:
    step = made(kind, 1, tokens=1, seconds=86_400) if kind == "rate" else made(kind, 1)
    spent = 0
    for cost in costs:
        asked = ask(step)
        assert (asked is not None) == (spent < 100)
        if asked is None:
            return
        end(step, asked, cost)
        spent += cost
