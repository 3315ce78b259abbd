"""Invitations: used once, until a day."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.unit.storage.kit import PASSWORD, Store

from portico.errors import Invalid, Taken, Unknown
from portico.storage.accounts import NewKey
from portico.storage.ids import now
from portico.storage.tables import InvitationRow


def test_an_invitation_is_used_once(store: Store) -> None:
    made, token = store.run(
        store.invitations.create(tenant="one", email="ANN@example.com", roles=("viewer",), permissions=("docs:read",))
    )
    assert (made.email, made.roles, made.permissions, made.tenant) == (
        "ann@example.com",
        ("viewer",),
        ("docs:read",),
        "one",
    )
    assert store.run(store.invitations.list()) == ([made], None)
    used = store.run(store.invitations.redeem(token))
    assert (used.id, used.roles, used.tenant) == (made.id, ("viewer",), "one")
    assert used.used_at is not None
    with pytest.raises(Unknown):
        store.run(store.invitations.redeem(token))
    assert store.run(store.invitations.list()) == ([], None)


def test_of_many_who_redeem_at_once_one_does(store: Store) -> None:
    _, token = store.run(store.invitations.create())

    async def race() -> list[Any]:
        return await asyncio.gather(*(store.invitations.redeem(token) for _ in range(8)), return_exceptions=True)

    results = store.run(race())
    assert sum(isinstance(each, Unknown) for each in results) == 7


def test_a_key_for_an_invitation_has_its_rights_and_no_others(store: Store) -> None:
    _, token = store.run(store.invitations.create(tenant="one", permissions=("docs:read",)))
    wanted = NewKey("shop", tenant="two", permissions=("*",))
    record, key = store.run(store.invitations.register(token, wanted))
    assert (record.name, record.tenant, record.permissions) == ("shop", "one", ("docs:read",))
    assert store.run(store.keys.find(record.sha256)) == record
    assert key.startswith("pk_")
    with pytest.raises(Unknown):
        store.run(store.invitations.register(token, wanted))


def test_a_registration_that_fails_leaves_the_invitation(store: Store) -> None:
    _, token = store.run(store.invitations.create())
    with pytest.raises(Invalid):
        store.run(store.invitations.register(token, NewKey("")))
    assert store.run(store.invitations.register(token, NewKey("shop")))


def test_a_person_comes_with_the_key_or_neither_does(store: Store) -> None:
    store.run(store.people.create("ann@example.com"))
    made, token = store.run(store.invitations.create(tenant="one", roles=("viewer",), permissions=("docs:read",)))
    with pytest.raises(Taken):
        store.run(store.invitations.register(token, NewKey("shop"), email="ann@example.com"))
    with pytest.raises(Invalid):  # the person is written first
        store.run(store.invitations.register(token, NewKey(""), email="bea@example.com"))
    assert store.run(store.people.by_email("bea@example.com")) is None
    assert store.run(store.invitations.find(token)) == made
    kept = store.run(store.people.hashed(PASSWORD))
    record, _ = store.run(store.invitations.register(token, NewKey("shop"), email="bea@example.com", password=kept))
    bea = store.run(store.people.verify_password("bea@example.com", PASSWORD))
    assert bea is not None
    assert (bea.id, bea.tenant, bea.roles) == (record.owner, "one", ("viewer",))
    with pytest.raises(Unknown):
        store.run(store.invitations.find(token))


def test_what_someone_made_who_was_shut_out_is_worth_nothing(store: Store) -> None:
    person = store.run(store.people.create("ann@example.com", roles=("admin",)))
    key, _ = store.run(store.keys.issue(NewKey("hers", owner=person.id)))
    tokens = [store.run(store.invitations.create(created_by=maker))[1] for maker in (person.id, key.id, person.id)]
    assert store.run(store.invitations.redeem(tokens[2])).created_by == person.id
    store.run(store.people.update(person.id, disabled=True))
    for token in tokens:
        for attempt in (store.invitations.find(token), store.invitations.redeem(token)):
            with pytest.raises(Unknown):
                store.run(attempt)
    store.run(store.people.update(person.id, disabled=False))
    for token in tokens[:2]:
        store.run(store.invitations.redeem(token))


def test_an_expired_one_is_as_if_it_had_never_been(store: Store) -> None:
    _, token = store.run(store.invitations.create(lifetime=60))

    async def age(days: int) -> None:
        async with store.db.write() as session:
            await session.execute(update(InvitationRow).values(expires_at=now() - timedelta(days=days)))

    store.run(age(1))
    with pytest.raises(Unknown):
        store.run(store.invitations.redeem(token))
    assert store.run(store.invitations.list()) == ([], None)
    assert store.run(store.invitations.prune()) == 0
    store.run(age(8))
    assert store.run(store.invitations.prune()) == 1


@pytest.mark.parametrize("token", ["", "x", "pi_" + "A" * 43, "\0" * 46, "\ud800" * 46])
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # refused before the database is asked
def test_one_that_was_never_made(store: Store, token: str) -> None:
    with pytest.raises(Unknown):
        store.run(store.invitations.redeem(token))


@pytest.mark.parametrize("fields", [{"lifetime": 0}, {"lifetime": 400 * 86400}, {"roles": ("\0",)}, {"email": "x"}])
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # refused before the database is asked
def test_what_can_not_be(store: Store, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        store.run(store.invitations.create(**fields))


def test_pages_hold_every_invitation_once(store: Store) -> None:
    ids = [store.run(store.invitations.create())[0].id for _ in range(5)]
    first, cursor = store.run(store.invitations.list(limit=3))
    rest, end = store.run(store.invitations.list(after=cursor, limit=3))
    assert [each.id for each in (*first, *rest)] == ids
    assert end is None
