"""Questions about usage are answered within 100 ms, on a year of 10,000 keys."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.integration import usage_year
from tests.unit.storage.kit import Store

from portico.storage.tables.usage import DAY, HOUR, KEY, MINUTE, ROUTE
from portico.storage.usage import Ranks, Usage

END: Final = 1_790_035_200  # the beginning of a day
YEAR: Final = END - 365 * DAY
BOUND: Final = 0.1  # seconds
ROUNDS: Final = 7


def questions(store: Store, keys: int) -> dict[str, Callable[[], Awaitable[Any]]]:
    counted, ranks = Usage(store.db), Ranks(store.db)
    return {
        "a key's days of a year": lambda: counted.series([keys], DAY, YEAR, END),
        "a busy key's hours of two months": lambda: counted.series([keys], HOUR, END - 60 * DAY, END),
        "a busy key's minutes of a day": lambda: counted.series([keys], MINUTE, END - DAY, END),
        "everyone's year by status": lambda: counted.statuses(None, DAY, YEAR, END),
        "everyone's days of a year": lambda: counted.totals(None, DAY, YEAR, END),
        "a tenant's days of a year": lambda: counted.totals("tenant-1", DAY, YEAR, END),
        "top keys of a year": lambda: ranks.top(KEY, None, YEAR, END),
        "top keys of the most awkward 362 days": lambda: ranks.top(KEY, None, *awkward()),
        "a page of a tenant's keys of a year": lambda: ranks.top(KEY, "tenant-1", YEAR, END, limit=200),
        "top keys of a day, by hours": lambda: ranks.top(KEY, None, END - DAY - HOUR, END - HOUR),
        "top routes of a year": lambda: ranks.top(ROUTE, None, YEAR, END),
    }


def awkward() -> tuple[int, int]:
    """As many pieces as there can be: it begins a day after a long span has begun, and ends a day before one ends."""
    start = YEAR - YEAR % (64 * DAY) + 65 * DAY
    return start, start + 63 * DAY + 3 * 64 * DAY + 63 * DAY


def measured(store: Store, keys: int) -> dict[str, float]:
    """Least seconds of each question: what else the machine does is not its own. Told with CPU time of this process."""

    async def ask(question: Callable[[], Awaitable[Any]]) -> list[tuple[float, float]]:
        took = []
        for _ in range(ROUNDS):
            wall, cpu = time.perf_counter(), time.process_time()
            await question()
            took.append((time.perf_counter() - wall, time.process_time() - cpu))
        return took

    least = {}
    for name, question in questions(store, keys).items():
        walls, cpus = zip(*store.run(ask(question)), strict=True)
        shown = [f"{seconds * 1000:.1f}" for seconds in (min(walls), statistics.median(walls), statistics.median(cpus))]
        print(f"{name}: {shown[0]} ms, median {shown[1]}, CPU {shown[2]}")
        least[name] = min(walls)
    return least


@pytest.fixture
def filled(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    with Store(database_url, tmp_path) as store:
        before = time.perf_counter()
        store.run(usage_year.fill(store.db, request.param, END))
        print(f"filled in {time.perf_counter() - before:.0f} s")
        yield store


@pytest.mark.parametrize("filled", [300], indirect=True)
def test_a_year_of_three_hundred_keys(filled: Store) -> None:
    assert slow(measured(filled, 300)) == {}
    ranks = Ranks(filled.db)
    start, end = awkward()
    found = filled.run(ranks.top(KEY, None, start, end, limit=500))
    exact = filled.execute(
        "SELECT caller, sum(requests), sum(bytes_out) FROM usage_days WHERE at >= :start AND at < :end GROUP BY caller",
        start=start,
        end=end,
    )
    assert {(each.subject, each.requests, each.bytes_out) for each in found.items} == {tuple(row) for row in exact}
    assert found.count == 300


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("filled", [10_000], indirect=True)
def test_a_year_of_ten_thousand_keys(filled: Store) -> None:
    assert slow(measured(filled, 10_000)) == {}


def slow(took: dict[str, float]) -> dict[str, float]:
    return {name: seconds for name, seconds in took.items() if seconds > BOUND}
