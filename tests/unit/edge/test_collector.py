"""The edge's garbage collection: cycles go, old objects are looked at only when there is time, nothing takes long."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from portico.edge.collector import FEW, FULL_EVERY, MANY, MOST, YOUNG_EVERY, Collector


class Node:
    """Refers to itself: only a collection can find it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    made.start(0.0)
    yield made
    gc.unfreeze()
    gc.enable()
    gc.collect()


def test_young_cycles_are_found_within_a_second_also_under_load(collector: Collector) -> None:
    gone = weakref.ref(Node())
    assert gone() is not None, "Python's own collector is off"
    collector.turn(YOUNG_EVERY + 0.1, busy=True)
    assert gone() is None


def test_many_young_objects_are_not_waited_for(collector: Collector) -> None:
    nodes = [Node() for _ in range(MANY)]
    gone = weakref.ref(nodes[0])
    del nodes
    collector.turn(0.2, busy=True)
    assert gone() is None


def _grown_old(collector: Collector, count: int) -> list[Node]:
    nodes = [Node() for _ in range(count)]
    collector.turn(YOUNG_EVERY + 0.1, busy=True)
    return nodes


def test_old_cycles_wait_for_a_moment_without_requests(collector: Collector) -> None:
    nodes = _grown_old(collector, 2 * FEW)
    gone = weakref.ref(nodes[0])
    del nodes
    collector.turn(2 * YOUNG_EVERY + 0.2, busy=True)
    collector.turn(2 * YOUNG_EVERY + 0.4, busy=True)
    assert gone() is not None
    collector.turn(2 * YOUNG_EVERY + 0.6, busy=False)
    assert gone() is None
    assert collector.old < FEW


def test_old_cycles_go_after_a_minute_even_if_requests_never_pause(collector: Collector) -> None:
    nodes = _grown_old(collector, FEW // 2)
    gone = weakref.ref(nodes[0])
    del nodes
    for turn in range(1, int(FULL_EVERY / YOUNG_EVERY) + 2):
        collector.turn(turn * YOUNG_EVERY * 1.01, busy=True)
    collector.turn(FULL_EVERY + 2.0, busy=True)
    assert gone() is None


@pytest.mark.parametrize("step", [MOST + 1, MANY])
def test_what_has_grown_large_is_frozen_and_never_looked_at_in_one_go(collector: Collector, step: int) -> None:
    kept = []
    now = 0.0
    while sum(len(each) for each in kept) <= MOST:
        kept.append([Node() for _ in range(step)])
        now += YOUNG_EVERY + 0.1
        collector.turn(now, busy=False)
        now += 0.2
        collector.turn(now, busy=False)
    assert gc.get_freeze_count() > MOST
    assert collector.old < MOST
    # Measured in processor time, and generously: a busy machine's clock runs slower too.
    assert collector.longest < 0.03


def test_a_quiet_process_does_nothing(collector: Collector) -> None:
    for turn in range(50):
        collector.turn(turn * 0.2, busy=False)
    assert collector.collections <= 10
    assert collector.report()["old"] < FEW
