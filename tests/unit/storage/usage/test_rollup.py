"""Whatever is taken in, in whatever order and pieces, every level and every sum says the same as plain addition."""

from __future__ import annotations

import contextlib
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.storage.kit import Store
from tests.unit.storage.usage.kit import START, Row, clear, exact, row, rows, take

from portico.storage.tables.usage import DAY, HOUR, KEY, LEVELS, MINUTE, ROUTE
from portico.storage.usage import Counts, Ranks, Usage, rollup

ON_A_DATABASE = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
BATCHES = st.lists(st.lists(rows(), max_size=12), min_size=1, max_size=4)
END = START + 6 * DAY


def plain(counts: Counts) -> Counter[str]:
    names = ("requests", "client_errors", "server_errors", "bytes_in", "bytes_out", "micros")
    sums = Counter({name: getattr(counts, name) for name in names})
    sums.update({f"bucket_{index}": count for index, count in enumerate(counts.buckets)})
    return sums


def same(found: dict[int, Counts], wanted: dict[int, Counter[str]]) -> None:
    """Equal, where nothing counted and not there are the same."""
    for at in found.keys() | wanted.keys():
        assert +plain(found.get(at, Counts())) == +wanted.get(at, Counter()), at


@ON_A_DATABASE
@given(batches=BATCHES)
def test_every_level_has_the_exact_sums(store: Store, batches: list[list[Row]]) -> None:
    clear(store)
    take(store, *batches)
    counted = [each for batch in batches for each in batch]
    asked = Usage(store.db)
    for name, kind, those in (
        ("a", "key", {"key": "a"}),
        ("b", "key", {"key": "b"}),
        ("a", "person", {"kind": "person"}),
    ):
        numbers = store.run(asked.callers(name, None, kind))
        for span in LEVELS:
            wanted = {at: exact(counted, at, at + span, **those) for at in beginnings(counted, span)}
            same(store.run(asked.series(numbers, span, START, END)), wanted)


@ON_A_DATABASE
@given(batches=BATCHES)
def test_the_totals_have_the_exact_sums(store: Store, batches: list[list[Row]]) -> None:
    clear(store)
    take(store, *batches)
    counted = [each for batch in batches for each in batch]
    asked = Usage(store.db)
    for tenant in ("one", "two", None):
        those = {"tenant": tenant} if tenant else {}
        for span in LEVELS:
            wanted = {at: exact(counted, at, at + span, **those) for at in beginnings(counted, span)}
            same(store.run(asked.totals(tenant, span, START, END)), wanted)
        by_status = {
            status: exact(counted, status=status, **those) for status in (200, 204, 301, 401, 404, 429, 500, 503)
        }
        same(store.run(asked.statuses(tenant, DAY, START, END)), by_status)


@ON_A_DATABASE
@given(batches=BATCHES, first=st.integers(0, 143), hours=st.integers(0, 143))
def test_ranks_have_the_exact_sums_of_any_hours(store: Store, batches: list[list[Row]], first: int, hours: int) -> None:
    clear(store)
    take(store, *batches)
    counted = [each for batch in batches for each in batch]
    start, end = START + first * HOUR, START + (first + hours) * HOUR
    ranks = Ranks(store.db)
    for tenant in ("one", "two", None):
        those = {"tenant": tenant} if tenant else {}
        keys = store.run(ranks.top(KEY, tenant, start, end)).items
        routes = store.run(ranks.top(ROUTE, tenant, start, end)).items
        for each, wanted in (
            *((each, exact(counted, start, end, key=each.name)) for each in keys),
            *((each, exact(counted, start, end, route=each.name, method=each.kind, **those)) for each in routes),
        ):
            assert each.errors == wanted["client_errors"] + wanted["server_errors"]
            for name in ("requests", "bytes_in", "bytes_out", "micros"):
                assert getattr(each, name) == wanted[name]
        told = sum(each.requests for each in keys)
        assert told == exact(counted, start, end, kind="key", **those)["requests"]
        assert sum(each.requests for each in routes) == exact(counted, start, end, **those)["requests"]


def test_the_order_and_the_pieces_make_no_difference(store: Store) -> None:
    counted = [row(START + minute * 60, key) for minute in (0, 59, 60, 1439, 1440, 3000) for key in ("a", "b", "a")]
    pictures = []
    for batches in ([counted], [[each] for each in reversed(counted)]):
        clear(store)
        take(store, *batches)
        pictures.append([store.execute(f"SELECT * FROM {level} ORDER BY 1, 2, 3, 4") for level in LEVELS.values()])
    assert pictures[0] == pictures[1]


def test_a_minute_that_comes_a_day_late_lands_in_every_level(store: Store) -> None:
    take(store, [row(START + DAY, "a")], [row(START, "a")])
    asked = Usage(store.db)
    numbers = store.run(asked.callers("a", "one"))
    for span in (MINUTE, HOUR, DAY):
        assert store.run(asked.series(numbers, span, START, END)).keys() == {START, START + DAY}


def test_a_transaction_that_fails_has_counted_nothing(store: Store) -> None:
    async def work() -> None:
        async with store.db.write() as session:
            await rollup.take(session, [{"kind": "usage", "rows": [row(START)]}])
            raise RuntimeError

    with contextlib.suppress(RuntimeError):
        store.run(work())
    assert store.execute("SELECT count(*) FROM usage_minutes") == [(0,)]
    assert store.execute("SELECT count(*) FROM usage_callers") == [(0,)]


def test_names_that_a_database_can_t_hold_are_made_so(store: Store) -> None:
    wild = "issuer:" + "\0\ud800x" * 1000
    take(store, [row(START, "", principal=wild, kind="person"), row(START, "", principal=wild, kind="person")])
    ((name, requests),) = store.execute(
        "SELECT c.principal, m.requests FROM usage_minutes m JOIN usage_callers c ON c.id = m.caller"
    )
    assert name.startswith("issuer:??x")
    assert (len(name), requests) == (1024, 2)


def test_nothing_is_nothing(store: Store) -> None:
    take(store, [])
    assert store.execute("SELECT count(*) FROM usage_totals") == [(0,)]


def beginnings(counted: list[Row], span: int) -> set[int]:
    return {each[0] - each[0] % span for each in counted}
