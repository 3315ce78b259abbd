"""API keys: issued, found, listed, rotated, revoked."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from tests.unit.storage.kit import Store

from portico.errors import Invalid, Missing, Taken
from portico.identity import apikeys
from portico.storage.accounts import KeyRecord, NewKey
from portico.storage.accounts.keys import PER_DAY, PER_MINUTE
from portico.storage.changes import KEY
from portico.storage.ids import now, uuid7

HOUR = timedelta(hours=1)


def issued(store: Store, name: str = "a", **fields: Any) -> tuple[KeyRecord, str]:
    return store.run(store.keys.issue(NewKey(name, **fields)))


def found(store: Store, key: str) -> KeyRecord | None:
    return store.run(store.keys.find(sha256(key.encode()).digest()))


def told(store: Store, after: int = 0) -> list[tuple[str, str]]:
    """Each change to a key: its id and what became of it."""
    return [(each.subject, each.detail["op"]) for each in store.run(store.changes.since(after)) if each.kind == KEY]


def test_a_line_of_successors_is_one_family(store: Store) -> None:
    first, _ = store.run(store.keys.issue(NewKey("shop")))
    assert first.family == first.id
    second, _ = store.run(store.keys.rotate(first.id, 60))
    third, _ = store.run(store.keys.rotate(second.id, 60))
    assert (second.family, third.family) == (first.id, first.id)
    assert third.replaces == second.id
    found = store.run(store.keys.find(third.sha256))
    assert found is not None
    assert found.family == first.id
    assert store.run(store.keys.issue(NewKey("shop")))[0].family != first.id


def test_a_key_is_shown_once_and_found_by_its_hash(store: Store) -> None:
    record, key = issued(store, permissions=("docs:read", "docs:read", "users:*"), networks=("10.0.0.0/8",))
    assert apikeys.well_formed(key.encode())
    assert found(store, key) == record == store.run(store.keys.get(record.id))
    assert record.sha256 == sha256(key.encode()).digest()
    assert record.hint == key[:10]
    assert record.permissions == ("docs:read", "users:*")
    assert record.is_active
    assert key not in repr(record)
    assert found(store, apikeys.generate()) is None
    assert told(store) == [(record.id, "added")]


def test_limits_have_defaults_that_others_replace(store: Store) -> None:
    plain, _ = issued(store)
    assert (plain.per_minute, plain.per_day, plain.window, plain.rate, plain.quota) == (PER_MINUTE, PER_DAY, "", "", "")
    assert (PER_MINUTE, PER_DAY) == (60, 10_000)
    rated, _ = issued(store, rate="600/minute", burst=60)
    assert (rated.per_minute, rated.per_day, rated.rate, rated.burst) == (0, PER_DAY, "600/minute", 60)
    windowed, _ = issued(store, window="100/hour", quota="5/day")
    assert (windowed.per_minute, windowed.per_day, windowed.window, windowed.quota) == (0, 0, "100/hour", "5/day")
    both, _ = issued(store, rate="600/minute", per_minute=7, per_day=0)
    assert (both.per_minute, both.per_day) == (7, 0)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a\ud800"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"tenant": "a b"}, "tenant"),
        ({"tenant": "\0"}, "tenant"),
        ({"owner": "me"}, "owner"),
        ({"permissions": ("docs",)}, "permissions"),
        ({"permissions": "docs:read"}, "permissions"),
        ({"permissions": tuple(f"docs:read:{n}" for n in range(101))}, "permissions"),
        ({"networks": ("10.0.0.1/8",)}, "networks"),
        ({"networks": ("everywhere",)}, "networks"),
        ({"window": "60"}, "window"),
        ({"rate": "1/fortnight"}, "rate"),
        ({"quota": "5/minute"}, "quota"),
        ({"burst": 5}, "burst"),
        ({"rate": "1/second", "burst": -1}, "burst"),
        ({"per_minute": -1}, "per_minute"),
        ({"per_day": 10**30}, "per_day"),
        ({"per_minute": True}, "per_minute"),
        ({"expires_at": now() - HOUR}, "expires_at"),
        ({"expires_at": now().replace(tzinfo=None) + HOUR}, "expires_at"),
    ],
)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # refused before the database is asked
def test_what_can_not_be_is_named(store: Store, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as raised:
        issued(store, **{"name": "a", **fields})
    assert raised.value.field == field
    assert told(store) == []


def test_an_owner_must_be_there_and_of_the_same_tenant(store: Store) -> None:
    ann = store.run(store.people.create("ann@example.com", tenant="one"))
    assert issued(store, owner=ann.id, tenant="one")[0].owner == ann.id
    for owner, tenant in ((ann.id, "two"), (uuid7(), "one")):
        with pytest.raises(Missing):
            issued(store, owner=owner, tenant=tenant)


def test_an_expired_key_is_not_found(store: Store) -> None:
    record, key = issued(store, expires_at=now() + HOUR)
    assert found(store, key) == record
    past = now() - HOUR
    _expire(store, record.id, past)
    assert found(store, key) is None
    shown = store.run(store.keys.get(record.id))
    assert shown is not None
    assert not shown.is_active
    assert store.run(store.keys.prefixes()) == b""


def test_a_rotated_key_works_until_its_grace_ends(store: Store) -> None:
    old, key = issued(store, name="shop", tenant="one", permissions=("docs:read",), rate="5/second", burst=9)
    before = store.run(store.changes.latest())
    new, second = store.run(store.keys.rotate(old.id, 60.0))
    assert (new.replaces, new.name, new.tenant, new.permissions) == (old.id, "shop", "one", ("docs:read",))
    assert (new.rate, new.burst, new.per_minute, new.expires_at) == ("5/second", 9, 0, None)
    assert second != key
    assert new.id != old.id
    graced = found(store, key)
    assert graced is not None
    assert graced.expires_at is not None
    assert timedelta(seconds=55) < graced.expires_at - now() <= timedelta(seconds=60)
    assert sorted(told(store, before)) == sorted([(new.id, "added"), (old.id, "changed")])
    _expire(store, old.id, now() - HOUR)
    assert found(store, key) is None
    assert found(store, second) == new


def test_without_grace_the_old_key_ends_at_once(store: Store) -> None:
    old, key = issued(store)
    new, second = store.run(store.keys.rotate(old.id, 0))
    assert found(store, key) is None
    assert found(store, second) == new
    assert (old.id, "gone") in told(store)


def test_grace_does_not_prolong_a_key(store: Store) -> None:
    soon = now() + timedelta(seconds=30)
    old, key = issued(store, expires_at=soon)
    new, _ = store.run(store.keys.rotate(old.id, 3600))
    graced = found(store, key)
    assert graced is not None
    assert graced.expires_at == old.expires_at == new.expires_at


def test_a_key_has_one_successor(store: Store) -> None:
    old, _ = issued(store)
    new, _ = store.run(store.keys.rotate(old.id, 60))
    with pytest.raises(Taken, match="rotated before"):
        store.run(store.keys.rotate(old.id, 60))
    assert store.run(store.keys.rotate(new.id, 60))[0].replaces == new.id


def test_of_many_that_rotate_at_once_one_does(store: Store) -> None:
    old, _ = issued(store)

    async def race() -> list[Any]:
        return await asyncio.gather(*(store.keys.rotate(old.id, 60) for _ in range(8)), return_exceptions=True)

    results = store.run(race())
    assert sum(isinstance(each, tuple) for each in results) == 1
    assert all(isinstance(each, tuple | Taken) for each in results)
    assert len(store.run(store.keys.list())[0]) == 2


@pytest.mark.parametrize("id", ["", "x", "\0", "018f3a4e-7b1c-7000-8000-000000000000"])
def test_what_is_not_there(store: Store, id: str) -> None:  # noqa: A002
    assert store.run(store.keys.get(id)) is None
    assert not store.run(store.keys.revoke(id))
    with pytest.raises(Missing):
        store.run(store.keys.rotate(id, 0))


def test_a_revoked_key_is_gone_for_good(store: Store) -> None:
    record, key = issued(store)
    assert store.run(store.keys.revoke(record.id))
    assert found(store, key) is None
    assert not store.run(store.keys.revoke(record.id))
    assert store.run(store.keys.prefixes()) == b""
    assert told(store) == [(record.id, "added"), (record.id, "gone")]
    with pytest.raises(Missing):
        store.run(store.keys.rotate(record.id, 0))


def test_revoking_ends_those_in_grace_as_well(store: Store) -> None:
    first, key = issued(store)
    second, key2 = store.run(store.keys.rotate(first.id, 3600))
    third, key3 = store.run(store.keys.rotate(second.id, 3600))
    before = store.run(store.changes.latest())
    assert store.run(store.keys.revoke(third.id))
    assert [found(store, each) for each in (key, key2, key3)] == [None, None, None]
    assert sorted(told(store, before)) == sorted((each.id, "gone") for each in (first, second, third))


def test_the_end_of_a_graced_key_leaves_its_successor(store: Store) -> None:
    first, key = issued(store)
    _, key2 = store.run(store.keys.rotate(first.id, 3600))
    assert store.run(store.keys.revoke(first.id))
    assert found(store, key) is None
    assert found(store, key2) is not None


@pytest.mark.parametrize("grace", [-1, 31 * 86400, float("nan"), float("inf")])
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # refused before the database is asked
def test_a_grace_that_can_not_be(store: Store, grace: float) -> None:
    record, _ = issued(store)
    with pytest.raises(Invalid, match="grace"):
        store.run(store.keys.rotate(record.id, grace))


def test_last_use_only_grows(store: Store) -> None:
    one, _ = issued(store)
    two, _ = issued(store)
    moment = now().replace(microsecond=123_456)
    store.run(store.keys.used({one.id: moment, two.id: moment, uuid7(): moment, "x\0": moment}))
    store.run(store.keys.used({one.id: moment - HOUR, two.id: moment + HOUR}))
    shown = {each.id: each.last_used_at for each in store.run(store.keys.list())[0]}
    assert shown == {one.id: moment, two.id: moment + HOUR}
    store.run(store.keys.used({}))


def test_pages_hold_every_key_once(store: Store) -> None:
    ids = [issued(store, f"key {n}", tenant="one" if n % 2 else "two")[0].id for n in range(7)]
    store.run(store.keys.revoke(ids[3]))
    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = store.run(store.keys.list(after=cursor, limit=3))
        assert len(page) <= 3
        seen += [each.id for each in page]
        if cursor is None:
            break
    assert seen == ids
    assert [each.id for each in store.run(store.keys.list(active=True))[0]] == [*ids[:3], *ids[4:]]
    assert len(store.run(store.keys.list(limit=0))[0]) == 1
    with pytest.raises(Invalid, match="cursor"):
        store.run(store.keys.list(after="x\0"))


def test_prefixes_are_sorted_and_those_of_living_keys(store: Store) -> None:
    records = [issued(store)[0] for _ in range(20)]
    store.run(store.keys.revoke(records[0].id))
    data = store.run(store.keys.prefixes())
    prefixes = [data[at : at + 8] for at in range(0, len(data), 8)]
    assert prefixes == sorted(each.sha256[:8] for each in records[1:])


def test_prefixes_come_in_pieces_without_a_gap(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from portico.storage.accounts import keys

    records = [issued(store)[0] for _ in range(23)]
    monkeypatch.setattr(keys, "CHUNK", 5)
    assert store.run(store.keys.prefixes()) == b"".join(sorted(each.sha256[:8] for each in records))


def test_keys_of_a_disabled_owner_rest(store: Store) -> None:
    ann = store.run(store.people.create("ann@example.com"))
    record, key = issued(store, owner=ann.id)
    free, other = issued(store)
    store.run(store.people.update(ann.id, disabled=True))
    assert found(store, key) is None
    assert found(store, other) == free
    assert told(store)[-1] == (record.id, "gone")
    store.run(store.people.update(ann.id, disabled=False))
    assert found(store, key) == record
    assert told(store)[-1] == (record.id, "added")


def _expire(store: Store, id: str, moment: Any) -> None:  # noqa: A002
    """Set the time at which a key expires, which no method sets to the past."""
    from sqlalchemy import update

    from portico.storage.tables import KeyRow

    async def work() -> None:
        async with store.db.write() as session:
            await session.execute(update(KeyRow).where(KeyRow.id == id).values(expires_at=moment))

    store.run(work())
