from __future__ import annotations

import pytest
from tests.unit.storage.kit import Store
from tests.unit.storage.usage.kit import START, judge, row, take

from portico.storage.tables.usage import DAY, HOUR, KEY, MINUTE
from portico.storage.usage import Judgements, Ranks, Retention, Usage, retention
from portico.storage.usage.verdicts import Counted

NOW = START + 400 * DAY + 7 * HOUR + 90.0


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PIECE", 3)
    monkeypatch.setattr(retention, "CALLERS", 1)


def test_each_level_keeps_its_time_and_loses_what_is_older(store: Store) -> None:
    moments = [int(NOW) - age for age in (30, 6 * DAY, 8 * DAY, 80 * DAY, 100 * DAY, 300 * DAY, 390 * DAY)]
    take(store, [row(at, key) for at in moments for key in ("a", "b")])
    kept = Retention(store.db, 7 * DAY, 90 * DAY, 365 * DAY)
    assert store.run(kept.prune(NOW)) > 0
    asked = Usage(store.db)
    numbers = store.run(asked.callers("a", "one"))
    for span, expected in ((MINUTE, 2), (HOUR, 4), (DAY, 6)):
        assert len(store.run(asked.series(numbers, span, 0, START + 500 * DAY))) == expected
        for tenant in ("one", None):
            assert len(store.run(asked.totals(tenant, span, 0, START + 500 * DAY))) == expected
    assert store.run(kept.prune(NOW)) == 0


def test_sums_of_what_is_kept_stay_whole(store: Store) -> None:
    take(store, [row(START + day * DAY + 5 * HOUR) for day in range(400)])
    kept = Retention(store.db, DAY, 30 * DAY, 365 * DAY)
    store.run(kept.prune(NOW))
    oldest = kept.oldest(DAY, NOW)
    end = START + 401 * DAY
    days = (end - oldest) // DAY - 1  # the last has none yet
    (one,) = store.run(Ranks(store.db).top(KEY, None, oldest, end)).items
    assert one.requests == days
    hours = kept.oldest(HOUR, NOW)
    (one,) = store.run(Ranks(store.db).top(KEY, None, hours, end)).items
    assert one.requests == len([day for day in range(400) if START + day * DAY + 5 * HOUR >= hours])


def test_the_span_that_the_limit_falls_into_is_kept_whole(store: Store) -> None:
    kept = Retention(store.db, DAY, 2 * DAY, 31 * DAY)
    at = int(NOW - DAY)
    take(store, [row(at - at % MINUTE), row(at - at % MINUTE - MINUTE)])
    store.run(kept.prune(NOW))
    asked = Usage(store.db)
    found = store.run(asked.series(store.run(asked.callers("a", None)), MINUTE, 0, int(NOW)))
    assert list(found) == [kept.oldest(MINUTE, NOW)] == [at - at % MINUTE]


def test_verdicts_are_kept_as_long_as_requests(store: Store) -> None:
    moments = [int(NOW) - age for age in (30, 6 * DAY, 8 * DAY, 80 * DAY, 100 * DAY, 300 * DAY, 390 * DAY)]
    for key in ("a", "b"):
        judge(store, *(Counted(at, "one", "key", key, key, "e", True, 1, 0, 0, 0) for at in moments))
    kept, asked = Retention(store.db, 7 * DAY, 90 * DAY, 365 * DAY), Judgements(store.db)
    assert store.run(kept.prune(NOW)) > 0
    numbers = store.run(Usage(store.db).callers("a", "one"))
    for span, expected in ((MINUTE, 2), (HOUR, 4), (DAY, 6)):
        assert len(store.run(asked.series(numbers, span, 0, START + 500 * DAY))) == expected
        for tenant in ("one", None):
            assert len(store.run(asked.totals(tenant, span, 0, START + 500 * DAY))) == expected
    assert store.run(kept.prune(NOW)) == 0
