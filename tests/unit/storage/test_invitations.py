"""Invitations: used once, until a day."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.unit.storage.kit import Store

from portico.errors import Invalid, Unknown
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
