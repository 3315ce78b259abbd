from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import WALL, context, exchange

from portico.edge.exchange import Exchange
from portico.edge.policies import quota, rate, window
from portico.edge.policies.store import INTERVAL, SWEPT, Store

DAY = 86_400


def test_the_oldest_is_forgotten_beyond_the_capacity() -> None:
    store = Store(3)
    for key in ("a", "b", "c"):
        store.take(key, 0).until = 10
    store.take("a", 0)
    store.take("d", 0)
    assert list(store.buckets) == ["c", "a", "d"]


def test_a_look_changes_nothing() -> None:
    store = Store()
    assert store.look("a") is None
    assert not store.buckets


def test_only_what_can_be_forgotten_is_swept() -> None:
    store = Store()
    for number in range(100):
        store.take(number, 0).until = 5 if number < 50 else 7
    for _ in range(100):
        store.take("x", 6).until = 100
    assert len(store.buckets) == 51
    assert min(key for key in store.buckets if isinstance(key, int)) == 50


def test_a_sweep_never_looks_at_more_than_its_share() -> None:
    store = Store()
    for number in range(1000):
        store.take(number, 0).until = 1
    before = len(store.buckets)
    for _ in range(INTERVAL):
        store.take(0, 2)
    assert before - len(store.buckets) <= SWEPT + 1


def test_ever_new_callers_do_not_fill_the_memory() -> None:
    store = Store()
    for number in range(100_000):
        store.take(number, number).until = number + 1000
    assert len(store.buckets) <= 1000 + INTERVAL


CASES: list[tuple[Any, dict[str, Any]]] = [
    (rate, {"tokens": 5, "seconds": 3, "burst": 2, "by": "client", "name": "x"}),
    (window, {"count": 2, "seconds": 3, "by": "client", "name": "x"}),
    (quota, {"count": 2, "by": "client", "name": "x"}),
]


@pytest.mark.parametrize(("module", "config"), CASES)
@settings(max_examples=40, deadline=None)
@given(data=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=100))
def test_sweeping_changes_no_decision(module: Any, config: dict[str, Any], data: list[tuple[int, int]]) -> None:
    swept = context()
    step, kept = module.build(config, swept), module.build(config, context())
    store = next(iter(swept.shared["limits"].buckets.values()))
    for at, client in sorted(data):
        store.looks = INTERVAL  # sweep with every look
        asked, twin = (moment(at, client) for _ in range(2))
        assert (step.check(asked) is None) == (kept.check(twin) is None)
        assert asked.response_fields == twin.response_fields


def moment(at: int, client: int) -> Exchange:
    return exchange(now=at / 4, wall=WALL + at * DAY / 5, client=b"%d" % client)


@pytest.mark.parametrize(("module", "config"), CASES)
def test_many_callers(module: Any, config: dict[str, Any]) -> None:
    made = context()
    step = module.build(config, made)
    for number in range(20_000):
        client = b"%d" % number
        assert step.check(exchange(client=client)) is None
    assert step.check(exchange(client=b"7")) is None
    assert step.check(exchange(client=b"7")) is not None
    assert step.check(exchange(client=b"8")) is None
