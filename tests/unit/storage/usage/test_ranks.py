from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.storage.kit import Store
from tests.unit.storage.usage.kit import START, row, take

from portico.storage.tables.usage import DAY, HOUR, KEY, ROUTE, SPANS
from portico.storage.usage import Ranks
from portico.storage.usage.ranks import covering

HOURS = st.integers(0, 12 * 366 * 24)


@given(HOURS, HOURS)
def test_the_pieces_are_the_time_and_are_few(one: int, other: int) -> None:
    start, end = (START + each * HOUR for each in sorted((one, other)))
    pieces = covering(start, end)
    at = start
    for span, begins in pieces:
        assert span in SPANS
        assert begins == at
        assert begins % span == 0
        at += span
    assert at == end
    assert len(pieces) <= 24 + (end - start) // (64 * DAY)


@given(st.integers(0, 3660))
def test_a_year_of_days_has_no_more_than_16(first: int) -> None:
    assert len(covering(START + first * DAY, START + (first + 366) * DAY)) <= 16


def test_pages_follow_one_another(store: Store) -> None:
    keys = [f"key-{index:02}" for index in range(25)]
    take(store, [row(START, key, requests=index // 2 + 1) for index, key in enumerate(keys)])
    ranks = Ranks(store.db)
    seen, after = [], None
    for _ in range(3):
        page = store.run(ranks.top(KEY, "one", START, START + DAY, after=after, limit=10))
        assert page.count == 25
        seen += page.items
        after = (page.items[-1].requests, page.items[-1].subject)
    assert sorted(each.name for each in seen) == keys
    assert [each.requests for each in seen] == sorted((each.requests for each in seen), reverse=True)
    assert store.run(ranks.top(KEY, "one", START, START + DAY, after=after)).items == []


def test_they_are_ordered_by_what_is_asked_for(store: Store) -> None:
    take(store, [row(START, "a", requests=9, bytes_out=1), row(START, "b", requests=1, bytes_out=9, status=500)])
    ranks = Ranks(store.db)
    for by, names in (("requests", "ab"), ("bytes_out", "ba"), ("errors", "ba")):
        found = store.run(ranks.top(KEY, None, START, START + HOUR, by=by)).items  # type: ignore[arg-type]
        assert "".join(each.name for each in found) == names


def test_a_tenant_s_are_its_own(store: Store) -> None:
    take(store, [row(START, "a"), row(START, "b", tenant="two"), row(START, "", kind="person", principal="p")])
    ranks = Ranks(store.db)
    assert [each.name for each in store.run(ranks.top(KEY, "one", START, START + DAY)).items] == ["a"]
    assert [each.name for each in store.run(ranks.top("person", None, START, START + DAY)).items] == ["p"]
    (route,) = store.run(ranks.top(ROUTE, "two", START, START + DAY)).items
    assert (route.name, route.kind, route.requests) == ("r", "GET", 1)


def test_no_time_has_nobody(store: Store) -> None:
    assert store.run(Ranks(store.db).top(KEY, None, START, START)).items == []
