"""Event-loop lag: what is measured, and that a halt counts for as long as it lasted."""

from __future__ import annotations

import asyncio
import time

import pytest

from portico.telemetry.lag import INTERVAL, KEPT, LoopLag


async def _measured(block: float) -> float:
    lag = LoopLag(asyncio.get_running_loop())
    lag.start()
    await asyncio.sleep(0)
    time.sleep(block)
    await asyncio.sleep(INTERVAL)
    lag.stop()
    return lag.p99()


def test_a_loop_that_stood_still_is_late() -> None:
    assert 0.3 <= asyncio.run(_measured(0.4 + INTERVAL)) < 2


def test_before_the_first_look_there_is_none() -> None:
    assert asyncio.run(_now()) == 0.0


async def _now() -> float:
    return LoopLag(asyncio.get_running_loop()).p99()


async def _of(*late: float) -> float:
    lag = LoopLag(asyncio.get_running_loop())
    for each in late:
        lag.observe(each)
    return lag.p99()


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        ([0.01], 0.01),
        ([0.001] * 99 + [0.05], 0.001),
        ([0.001] * 98 + [0.05] * 2, 0.05),
        ([0.05] * KEPT + [0.001] * KEPT, 0.001),  # a minute later nothing is left of it
    ],
)
def test_the_99th_percentile_of_the_last_minute(late: list[float], expected: float) -> None:
    assert asyncio.run(_of(*late)) == pytest.approx(expected)


def test_the_looks_that_a_halt_made_impossible_count_as_late() -> None:
    """One halt of 2 s among 580 good looks: without what was missed it would be one sample, and unseen."""
    assert asyncio.run(_of(*[0.0] * 580, 2.0)) == pytest.approx(1.4)


def test_a_halt_longer_than_what_is_kept_is_bounded() -> None:
    assert asyncio.run(_of(1000.0)) > 900
