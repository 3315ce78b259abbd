from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge import record
from portico.telemetry.latency import BOUNDS, quantile

LATENCIES = st.lists(st.floats(0.0001, 12.0), min_size=1, max_size=200)


def counted(latencies: list[float]) -> list[int]:
    counts = [0] * (len(BOUNDS) + 1)
    for each in latencies:
        counts[bisect_left(BOUNDS, each)] += 1
    return counts


def test_the_buckets_are_those_of_the_edge() -> None:
    assert list(BOUNDS) == record.BOUNDS


@given(LATENCIES, st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(latencies: list[float], share: float) -> None:
    exact = sorted(latencies)[max(0, math.ceil(share * len(latencies)) - 1)]
    found = quantile(counted(latencies), share)
    assert found is not None
    bucket = bisect_left(BOUNDS, exact)
    low = BOUNDS[bucket - 1] if bucket else 0.0
    high = BOUNDS[bucket] if bucket < len(BOUNDS) else BOUNDS[-1]
    assert low - 1e-9 <= found <= high + 1e-9


@given(LATENCIES)
def test_quantiles_grow_with_their_share(latencies: list[float]) -> None:
    found = [quantile(counted(latencies), share / 20) or 0.0 for share in range(21)]
    assert found == sorted(found)


def test_of_nothing_there_is_none() -> None:
    assert quantile([0] * 14, 0.5) is None


def test_within_a_bucket_latencies_are_taken_to_lie_evenly() -> None:
    counts = [0] * 14
    counts[6] = 100  # 50 to 100 ms
    assert quantile(counts, 0.5) == pytest.approx(0.075)
    assert quantile(counts, 0.99) == pytest.approx(0.0995)


def test_above_the_last_bound_its_value_is_told() -> None:
    assert quantile([0] * 13 + [5], 0.5) == 10.0
