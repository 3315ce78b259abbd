"""Changes: numbered, in the transaction that changes, read from any number on, forgotten after a day."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update
from tests.unit.storage.kit import Store

from portico.storage.changes import Change, Changes
from portico.storage.ids import now
from portico.storage.tables import ChangeRow


def write(store: Store, *subjects: str, fail: bool = False) -> None:
    async def work() -> None:
        async with store.db.write() as session:
            for subject in subjects:
                Changes.append(session, "thing", subject, {"of": subject, "list": [1, None]})
            if fail:
                raise RuntimeError("no")

    store.run(work())


def test_changes_are_read_in_their_order_from_a_number_on(store: Store) -> None:
    assert store.run(store.changes.latest()) == 0
    write(store, "a", "b")
    write(store, "c")
    found = store.run(store.changes.since(0))
    assert [each.subject for each in found] == ["a", "b", "c"]
    assert [each.number for each in found] == sorted(each.number for each in found)
    assert isinstance(found[0], Change)
    assert found[0].detail == {"of": "a", "list": [1, None]}
    assert abs(found[0].at - now()) < timedelta(minutes=1)
    assert [each.subject for each in store.run(store.changes.since(found[1].number))] == ["c"]
    assert [each.subject for each in store.run(store.changes.since(0, 2))] == ["a", "b"]
    assert store.run(store.changes.latest()) == found[-1].number


def test_what_is_undone_was_no_change(store: Store) -> None:
    write(store, "a")
    with pytest.raises(RuntimeError):
        write(store, "b", fail=True)
    write(store, "c")
    assert [each.subject for each in store.run(store.changes.since(0))] == ["a", "c"]


def test_old_changes_are_forgotten_and_their_numbers_not_used_again(store: Store) -> None:
    write(store, "a", "b", "c")
    numbers = [each.number for each in store.run(store.changes.since(0))]

    async def age() -> None:
        async with store.db.write() as session:
            await session.execute(update(ChangeRow).values(at=now() - timedelta(hours=25)))

    store.run(age())
    write(store, "d")
    assert store.run(store.changes.prune()) == 3
    assert store.run(store.changes.prune()) == 0
    (left,) = store.run(store.changes.since(0))
    assert left.subject == "d"
    store.run(age())
    assert store.run(store.changes.prune()) == 0, "the newest stays, so that `latest` never falls"
    write(store, "e")
    assert store.run(store.changes.latest()) > left.number > max(numbers)
