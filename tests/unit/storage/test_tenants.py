"""What belongs to one tenant is to another as if it were not there, in every method that takes a tenant."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.storage.kit import PASSWORD, Store

from portico.errors import Missing
from portico.storage.accounts import Invitations, KeyRecord, Keys, NewKey, People, Person, Session, Sessions
from portico.storage.ids import now

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Tenant:
    """What one tenant has."""

    name: str
    key: KeyRecord
    person: Person
    session: Session


def tenant(store: Store, name: str) -> Tenant:
    person = store.run(store.people.create(f"ann@{name}.example", PASSWORD, tenant=name))
    key, _ = store.run(store.keys.issue(NewKey(name, tenant=name, owner=person.id)))
    session, _ = store.run(store.sessions.begin(person))
    store.run(store.invitations.create(tenant=name))
    return Tenant(name, key, person, session)


def refused(store: Store, work: Callable[[], Any]) -> None:
    with pytest.raises(Missing):
        store.run(work())


# Method → what another tenant gets for what is not its own; every method with a `tenant` must be here.
TRIED: dict[str, Callable[[Store, Tenant, str], None]] = {
    "Keys.get": lambda s, t, other: _none(s.run(s.keys.get(t.key.id, other))),
    "Keys.list": lambda s, t, other: _empty(
        *s.run(s.keys.list(tenant=other, owner=t.person.id)), *s.run(s.keys.list(tenant=other))
    ),
    "Keys.count": lambda s, t, other: _zeros(s.run(s.keys.count(other, EPOCH, now()))),
    "Keys.rotate": lambda s, t, other: refused(s, lambda: s.keys.rotate(t.key.id, 0, other)),
    "Keys.revoke": lambda s, t, other: _none(s.run(s.keys.revoke(t.key.id, other)) or None),
    "People.get": lambda s, t, other: _none(s.run(s.people.get(t.person.id, other))),
    "People.by_email": lambda s, t, other: _none(s.run(s.people.by_email(t.person.email, other))),
    "People.list": lambda s, t, other: _empty(*s.run(s.people.list(tenant=other))),
    "People.count": lambda s, t, other: _zeros((s.run(s.people.count(other)),)),
    "People.update": lambda s, t, other: refused(s, lambda: s.people.update(t.person.id, name="x", tenant=other)),
    "People.set_password": lambda s, t, other: refused(
        s, lambda: s.people.set_password(t.person.id, "another password", tenant=other)
    ),
    "Sessions.get": lambda s, t, other: _none(s.run(s.sessions.get(t.session.id, other))),
    "Sessions.list": lambda s, t, other: _empty(*s.run(s.sessions.list(t.person.id, tenant=other))),
    "Sessions.end": lambda s, t, other: _none(s.run(s.sessions.end(t.session.id, tenant=other)) or None),
    "Invitations.list": lambda s, t, other: _empty(*s.run(s.invitations.list(tenant=other))),
}
MAKES = {"People.create", "Invitations.create"}  # there the tenant is whose it will be


def _none(value: Any) -> None:
    assert value is None


def _zeros(counts: tuple[int, ...]) -> None:
    assert set(counts) == {0}


def _empty(*pages: Any) -> None:
    assert all(page in ([], None) for page in pages)


@pytest.mark.parametrize("method", TRIED)
def test_another_tenant_finds_and_changes_nothing(store: Store, method: str) -> None:
    one = tenant(store, "one")
    before = store.run(store.changes.latest())
    TRIED[method](store, one, "two")
    assert store.run(store.changes.latest()) == before
    assert store.run(store.keys.get(one.key.id, "one")) == one.key
    assert store.run(store.people.get(one.person.id, "one")) == one.person
    assert store.run(store.sessions.get(one.session.id, "one")) == one.session


def test_each_tenant_lists_its_own(store: Store) -> None:
    for each in (tenant(store, "one"), tenant(store, "two")):
        assert store.run(store.keys.list(tenant=each.name))[0] == [each.key]
        assert store.run(store.people.list(tenant=each.name))[0] == [each.person]
        assert store.run(store.keys.count(each.name, EPOCH, now() + timedelta(seconds=1))) == (1, 1)
        assert store.run(store.keys.count(each.name, EPOCH, EPOCH)) == (1, 0)
        assert store.run(store.people.count(each.name)) == 1
        assert store.run(store.sessions.list(each.person.id, tenant=each.name))[0] == [each.session]
        assert [found.tenant for found in store.run(store.invitations.list(tenant=each.name))[0]] == [each.name]


def test_no_method_with_a_tenant_is_left_out() -> None:
    found = {
        f"{kind.__name__}.{name}"
        for kind in (Keys, People, Sessions, Invitations)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and "tenant" in inspect.signature(method).parameters
    }
    assert found == TRIED.keys() | MAKES


def test_every_method_that_gets_or_lists_takes_a_tenant() -> None:
    for kind in (Keys, People, Sessions, Invitations):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if name in ("get", "list", "by_email"):
                assert "tenant" in inspect.signature(method).parameters, f"{kind.__name__}.{name}"
