from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import context, exchange, lines, refused

from portico.edge.exchange import Exchange, Step
from portico.edge.policies.concurrent import build
from portico.edge.policies.limits import slots_of

CONFIG = {"slots": 2, "by": "client", "name": "concurrent-2"}


def end(step: Step, asked: Exchange) -> None:
    assert step.settle is not None
    step.settle(asked)


def test_a_slot_is_held_until_the_end() -> None:
    step = build(CONFIG, context())
    first, second, third = exchange(), exchange(), exchange()
    assert step.check(first) is None
    assert step.check(second) is None
    assert step.peek is not None
    refused(step.peek(third), 429, "too_many_concurrent")
    answer = step.check(third)
    refused(answer, 429, "too_many_concurrent")
    told = lines(answer.fields)  # type: ignore[union-attr]
    assert told["retry-after"] == "1"
    assert told["ratelimit-policy"] == '"concurrent-2";q=2;qu="concurrent-requests"'
    assert lines(second.response_fields)["ratelimit"] == '"concurrent-2";r=0'
    assert third.notes["limit"] == "concurrent-2"
    assert step.check(exchange(client=b"192.0.2.9")) is None
    end(step, third)
    assert step.check(exchange()) is not None
    end(step, first)
    assert step.check(exchange()) is None


def test_settling_twice_frees_once() -> None:
    step = build(CONFIG, context())
    first, second = exchange(), exchange()
    step.check(first)
    step.check(second)
    end(step, first)
    end(step, first)
    assert step.check(exchange()) is None
    assert step.check(exchange()) is not None


def test_a_slot_taken_before_a_reload_is_freed_after_it() -> None:
    shared: dict[Any, Any] = {}
    old = build({**CONFIG, "slots": 1}, context(shared, version=1))
    held = exchange()
    assert old.check(held) is None
    new = build({**CONFIG, "slots": 1}, context(shared, version=2))
    assert new.check(exchange()) is not None
    end(old, held)
    assert new.check(exchange()) is None


def test_two_of_one_name_on_a_route_are_freed_both() -> None:
    made = context(limits=2)
    steps = [build(CONFIG, made), build(CONFIG, made)]
    asked = exchange()
    assert [step.check(asked) for step in steps] == [None, None]
    for step in steps:
        end(step, asked)
    assert slots_of(made, "concurrent-2", "client").held == {}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=80), st.randoms())
def test_it_comes_back_to_zero_whatever_happens(slots: int, events: list[tuple[bool, int]], random: Any) -> None:
    made = context()
    step = build({**CONFIG, "slots": slots}, made)
    under_way: list[tuple[int, bool, Exchange]] = []
    for begins, client in events:
        if begins:
            asked = exchange(client=b"%d" % client)
            held = sum(taken for who, taken, _ in under_way if who == client)
            taken = step.check(asked) is None
            assert taken == (held < slots)
            under_way.append((client, taken, asked))
        elif under_way:
            asked = under_way.pop(random.randrange(len(under_way)))[2]
            asked.code = random.choice(["", "rate_limited", "upstream_truncated"])
            end(step, asked)
    for _, _, asked in under_way:
        end(step, asked)
    assert slots_of(made, "concurrent-2", "client").held == {}
