"""Sessions and their refresh tokens."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.unit.storage.kit import PASSWORD, Store

from portico.contracts import Issuer
from portico.errors import Invalid, Missing, Reused, Unknown
from portico.storage.accounts import Person, sessions
from portico.storage.changes import SESSION
from portico.storage.ids import now, uuid7
from portico.storage.tables import SessionRow


def person(store: Store, email: str = "ann@example.com", tenant: str = "default") -> Person:
    return store.run(store.people.create(email, tenant=tenant))


def test_a_session_begins_with_its_lifetimes(store: Store) -> None:
    ann = person(store, tenant="one")
    begun = store.sessions.begin(ann, lifetime=7200, access=600, agent="curl\0/8 \n" + "x" * 500, address="::1")
    session, token = store.run(begun)
    assert (session.person, session.tenant, session.address, session.ended_at) == (ann.id, "one", "::1", None)
    assert session.agent.startswith("curl/8 x")
    assert len(session.agent) == 200
    assert session.expires_at - session.created_at == timedelta(seconds=7200)
    assert session.tokens_until - session.created_at == timedelta(seconds=600)
    assert store.run(store.sessions.get(session.id)) == session
    assert store.run(store.sessions.list(ann.id)) == ([session], None)
    assert token not in repr(session)
    for lifetime, access in ((0, 1), (-1, 1), (367 * 86400, 1), (1, 0), (float("nan"), 1)):
        with pytest.raises(Invalid):
            store.run(store.sessions.begin(ann, lifetime=lifetime, access=access))


def test_an_access_token_never_outlives_its_session(store: Store) -> None:
    session, token = store.run(store.sessions.begin(person(store), lifetime=60, access=3600))
    assert session.tokens_until == session.expires_at
    again, _ = store.run(store.sessions.refresh(token, access=3600))
    assert again.tokens_until == again.expires_at == session.expires_at


def test_every_refresh_token_is_used_once(store: Store) -> None:
    session, token = store.run(store.sessions.begin(person(store)))
    seen = [token]
    for _ in range(4):
        again, token = store.run(store.sessions.refresh(seen[-1], access=60))
        assert again.id == session.id
        assert token not in seen
        seen.append(token)
    with pytest.raises(Reused):
        store.run(store.sessions.refresh(seen[1]))
    for each in seen:
        with pytest.raises(Unknown):
            store.run(store.sessions.refresh(each))
    assert [ended for ended, _ in store.run(store.sessions.revoked())] == [session.id]
    (change,) = store.run(store.changes.since(0))
    assert (change.kind, change.subject) == (SESSION, session.id)
    ended = store.run(store.sessions.get(session.id))
    assert ended is not None
    assert change.detail["until"] >= ended.tokens_until.timestamp()


def test_of_two_that_refresh_at_once_one_is_the_copy(store: Store) -> None:
    session, token = store.run(store.sessions.begin(person(store)))

    async def race() -> list[Any]:
        refresh = store.sessions.refresh
        return await asyncio.gather(*(refresh(token) for _ in range(4)), return_exceptions=True)

    results = store.run(race())
    assert sum(isinstance(each, tuple) for each in results) == 1
    assert sum(isinstance(each, Reused) for each in results) == 1
    assert sum(isinstance(each, Unknown) for each in results) == 2
    shown = store.run(store.sessions.get(session.id))
    assert shown is not None
    assert shown.ended_at is not None


@pytest.mark.parametrize("token", ["", "x", "pr_" + "A" * 43, "\0" * 46, "\ud800" * 46, "é" * 46, "x" * 100_000])
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # refused before the database is asked
def test_a_token_that_was_never_made(store: Store, token: str) -> None:
    with pytest.raises(Unknown):
        store.run(store.sessions.refresh(token))


def test_an_expired_session_is_over(store: Store) -> None:
    ann = person(store)
    session, token = store.run(store.sessions.begin(ann))

    async def expire() -> None:
        async with store.db.write() as inner:
            await inner.execute(update(SessionRow).values(expires_at=now() - timedelta(seconds=1)))

    store.run(expire())
    with pytest.raises(Unknown):
        store.run(store.sessions.refresh(token))
    assert store.run(store.sessions.list(ann.id)) == ([], None)
    assert store.run(store.sessions.prune()) == 1
    assert store.run(store.sessions.get(session.id)) is None
    assert store.execute("SELECT * FROM refresh_tokens") == []


def test_a_session_is_ended_once_and_by_its_owner(store: Store) -> None:
    ann, bob = person(store), person(store, "bob@example.com")
    session, token = store.run(store.sessions.begin(ann))
    assert not store.run(store.sessions.end(session.id, person=bob.id))
    assert store.run(store.sessions.refresh(token))
    assert store.run(store.sessions.end(session.id, person=ann.id))
    assert not store.run(store.sessions.end(session.id))
    assert not store.run(store.sessions.end("x\0"))
    (ended,) = store.run(store.sessions.revoked())
    assert ended[0] == session.id


def test_one_that_ended_long_ago_need_not_be_told(store: Store) -> None:
    session, _ = store.run(store.sessions.begin(person(store)))
    store.run(store.sessions.end(session.id))

    async def age() -> None:
        async with store.db.write() as inner:
            await inner.execute(update(SessionRow).values(tokens_until=now() - timedelta(minutes=2)))

    store.run(age())
    assert store.run(store.sessions.revoked()) == []


def test_one_whose_tokens_may_pass_by_the_leeway_of_clocks_is_told_and_kept(store: Store) -> None:
    session, _ = store.run(store.sessions.begin(person(store)))
    store.run(store.sessions.end(session.id))

    async def age() -> None:
        end = now() - timedelta(seconds=Issuer("portico").leeway)
        async with store.db.write() as inner:
            await inner.execute(update(SessionRow).values(tokens_until=end, expires_at=end))

    store.run(age())
    assert store.run(store.sessions.prune()) == 0
    assert [ended for ended, _ in store.run(store.sessions.revoked())] == [session.id]


def test_nobody_begins_a_session_with_a_password_of_before(store: Store) -> None:
    ann = store.run(store.people.create("ann@example.com", PASSWORD))
    proved = store.run(store.people.verify_password("ann@example.com", PASSWORD))
    assert proved == ann
    store.run(store.people.set_password(ann.id, "another " + PASSWORD))
    with pytest.raises(Missing):
        store.run(store.sessions.begin(proved))
    again = store.run(store.people.verify_password("ann@example.com", "another " + PASSWORD))
    assert again is not None
    assert store.run(store.sessions.begin(again))[0].person == ann.id


def test_used_tokens_are_kept_within_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "USED_KEPT", 3)
    _, token = store.run(store.sessions.begin(person(store)))
    tokens = [token]
    for _ in range(8):
        tokens.append(store.run(store.sessions.refresh(tokens[-1]))[1])
    assert store.execute("SELECT count(*) FROM refresh_tokens") == [(4,)]
    with pytest.raises(Unknown):
        store.run(store.sessions.refresh(tokens[0]))
    store.run(store.sessions.refresh(tokens[-1]))
    with pytest.raises(Reused):
        store.run(store.sessions.refresh(tokens[-2]))


def test_nobody_begins_a_session_for_one_who_is_not_there(store: Store) -> None:
    ann = person(store)
    gone = Person(uuid7(), "", "x", (), "default", False, False, ann.created_at, None, b"")
    with pytest.raises(Missing):
        store.run(store.sessions.begin(gone))


def test_pages_hold_every_session_once(store: Store) -> None:
    ann, bob = person(store), person(store, "bob@example.com")
    ids = [store.run(store.sessions.begin(ann))[0].id for _ in range(5)]
    store.run(store.sessions.begin(bob))
    first, cursor = store.run(store.sessions.list(ann.id, limit=3))
    rest, end = store.run(store.sessions.list(ann.id, after=cursor, limit=3))
    assert [each.id for each in (*first, *rest)] == ids
    assert end is None
    assert store.run(store.sessions.list("x\0")) == ([], None)
