"""People, their passwords and their standing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from tests.unit.storage.kit import PASSWORD, Store

from portico.errors import Busy, Invalid, Missing, Taken
from portico.storage.accounts import Person, passwords
from portico.storage.accounts.passwords import Passwords
from portico.storage.changes import PERSON, SESSION
from portico.storage.ids import now, uuid7


def ann(store: Store, **fields: Any) -> Person:
    return store.run(store.people.create("Ann@Example.COM ", PASSWORD, **fields))


def kinds(store: Store, after: int = 0) -> list[str]:
    return [each.kind for each in store.run(store.changes.since(after))]


def test_a_person_is_kept_with_the_address_in_lower_case(store: Store) -> None:
    made = ann(store, roles=("user", "admin", "user"), tenant="one", name="Ann")
    assert (made.email, made.name, made.roles, made.tenant) == ("ann@example.com", "Ann", ("user", "admin"), "one")
    assert (made.disabled, made.has_password) == (False, True)
    assert store.run(store.people.get(made.id)) == made
    assert store.run(store.people.by_email("ANN@example.com")) == made
    assert store.run(store.people.by_email("no\0body")) is None
    assert store.run(store.people.get(uuid7())) is None


def test_an_address_belongs_to_one(store: Store) -> None:
    ann(store, tenant="one")
    with pytest.raises(Taken):
        store.run(store.people.create("ANN@EXAMPLE.COM", tenant="two"))
    holders = [store.run(store.people.create("", roles=("viewer",), name="robot")) for _ in range(2)]
    assert [each.email for each in holders] == ["", ""]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"email": "ann"}, "email"),
        ({"email": "ann@"}, "email"),
        ({"email": "a\0@b.c"}, "email"),
        ({"email": "a@b..c"}, "email"),
        ({"email": f"{'x' * 65}@b.c"}, "email"),
        ({"email": f"x@{'b' * 254}"}, "email"),
        ({"email": "ä@b.c"}, "email"),
        ({"email": ""}, "password"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"password": "correct horse \ud800"}, "password"),
        ({"roles": ("a b",)}, "roles"),
        ({"roles": "user"}, "roles"),
        ({"tenant": ""}, "tenant"),
        ({"name": "a\nb"}, "name"),
    ],
)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # refused before the database is asked
def test_what_can_not_be_is_named(store: Store, fields: dict[str, Any], field: str) -> None:
    given = {"email": "bob@example.com", "password": PASSWORD, "name": "x", **fields}
    with pytest.raises(Invalid) as raised:
        store.run(store.people.create(**given))
    assert raised.value.field == field


def test_the_right_password_and_only_it(store: Store) -> None:
    made = ann(store)
    verify = store.people.verify_password
    assert store.run(verify("ANN@example.com", PASSWORD)) == made
    for email, password in (
        ("ann@example.com", PASSWORD + " "),
        ("ann@example.com", ""),
        ("ann@example.com", "\ud800"),
        ("ann@example.com", "x" * 5000),
        ("bob@example.com", PASSWORD),
        ("", PASSWORD),
        ("\0", PASSWORD),
    ):
        assert store.run(verify(email, password)) is None
    store.run(store.people.create("bob@example.com"))
    assert store.run(verify("bob@example.com", "")) is None
    store.run(store.people.update(made.id, disabled=True))
    assert store.run(verify("ann@example.com", PASSWORD)) is None


def test_unknown_wrong_and_disabled_take_the_same_time(store: Store) -> None:
    ann(store)
    off = store.run(store.people.create("off@example.com", PASSWORD))
    store.run(store.people.update(off.id, disabled=True))
    store.run(store.people.create("none@example.com"))

    def took(email: str, password: str) -> float:
        before = time.process_time()  # of all threads: that others use the processors too does not count
        store.run(store.people.verify_password(email, password))
        return time.process_time() - before

    cases = [("ann@example.com", "wrong password"), ("no@example.com", "wrong password"), ("off@example.com", PASSWORD)]
    cases += [("none@example.com", "wrong password"), ("\0", "wrong password")]
    rounds = [[took(*case) for case in cases] for _ in range(5)]
    best = [min(each) for each in zip(*rounds, strict=True)]
    assert max(best) < 1.5 * min(best), best


def test_an_old_hash_is_made_anew_at_the_next_login(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ann(store)
    old = store.execute("SELECT password FROM people")[0][0]
    monkeypatch.setattr(store.people, "_passwords", Passwords())
    monkeypatch.setattr(store.people._passwords, "_hasher", passwords.PasswordHasher(2, 16 * 1024, 1))
    proved = store.run(store.people.verify_password("ann@example.com", PASSWORD))
    assert proved == made
    assert store.run(store.sessions.begin(proved))  # it is no other password for that
    new = store.execute("SELECT password FROM people")[0][0]
    assert old != new
    assert "m=16384,t=2" in new
    assert store.run(store.people.verify_password("ann@example.com", PASSWORD)) == made


def test_passwords_wait_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING", 3)
    checker = Passwords()

    async def work() -> list[Any]:
        return await asyncio.gather(*(checker.verify(None, "x") for _ in range(5)), return_exceptions=True)

    results = asyncio.run(work())
    checker.close()
    assert [type(each) for each in results] == [bool, bool, bool, Busy, Busy]


def test_the_loop_goes_on_while_passwords_are_hashed(store: Store) -> None:
    async def work() -> int:
        turns = 0
        task = asyncio.create_task(store.people._passwords.hash(PASSWORD))
        while not task.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert (await task).startswith("$argon2id$")
        return turns

    assert store.run(work()) > 3


def test_other_roles_void_the_tokens_made_before(store: Store) -> None:
    made = ann(store)
    before = store.run(store.changes.latest())
    assert store.run(store.people.update(made.id, roles=("user",))).tokens_from is None
    changed = store.run(store.people.update(made.id, roles=("viewer",), name="Ann B."))
    assert (changed.roles, changed.name) == (("viewer",), "Ann B.")
    assert changed.tokens_from is not None
    assert 0 < changed.tokens_from.timestamp() - now().timestamp() <= 1
    (change,) = store.run(store.changes.since(before))
    assert (change.kind, change.subject) == (PERSON, made.id)
    assert change.detail == {"tokens_from": int(changed.tokens_from.timestamp())}
    assert store.run(store.people.voided(made.created_at)) == [(made.id, changed.tokens_from)]


def test_disabling_ends_sessions(store: Store) -> None:
    made = ann(store)
    session, _ = store.run(store.sessions.begin(made))
    before = store.run(store.changes.latest())
    off = store.run(store.people.update(made.id, disabled=True))
    assert off.disabled
    assert sorted(kinds(store, before)) == [PERSON, SESSION]
    with pytest.raises(Missing):
        store.run(store.sessions.begin(made))
    store.run(store.people.update(made.id, disabled=True))
    assert len(kinds(store, before)) == 2, "nothing happens twice"
    on = store.run(store.people.update(made.id, disabled=False))
    assert not on.disabled
    shown = store.run(store.sessions.get(session.id))
    assert shown is not None
    assert shown.ended_at is not None, "a session does not come back"


def test_a_new_password_ends_the_other_sessions(store: Store) -> None:
    made = ann(store)
    kept, _ = store.run(store.sessions.begin(made))
    other, _ = store.run(store.sessions.begin(made))
    store.run(store.people.set_password(made.id, "another fine password", keep=kept.id))
    assert [each.id for each in store.run(store.sessions.list(made.id))[0]] == [kept.id]
    assert [ended for ended, _ in store.run(store.sessions.revoked())] == [other.id]
    assert store.run(store.people.verify_password("ann@example.com", PASSWORD)) is None
    assert store.run(store.people.verify_password("ann@example.com", "another fine password")) is not None
    with pytest.raises(Missing):
        store.run(store.people.set_password(uuid7(), "another fine password"))


def test_pages_hold_everybody_once(store: Store) -> None:
    ids = [store.run(store.people.create(f"p{n}@example.com")).id for n in range(5)]
    first, cursor = store.run(store.people.list(limit=3))
    rest, end = store.run(store.people.list(after=cursor, limit=3))
    assert [each.id for each in (*first, *rest)] == ids
    assert end is None


def test_there_is_one_first_administrator(store: Store) -> None:
    made = store.run(store.people.first_administrator())
    assert made is not None
    assert (made.roles, made.email, made.has_password) == (("admin",), "", False)
    assert store.run(store.people.first_administrator()) is None


def test_of_many_that_start_at_once_one_makes_the_administrator(store: Store) -> None:
    others = [store.database() for _ in range(3)]

    async def race() -> list[Person | None]:
        for each in others:
            await each.open()
        try:
            made = await asyncio.gather(
                *(type(store.people)(each).first_administrator() for each in (store.db, *others) for _ in range(3))
            )
        finally:
            for each in others:
                await each.close()
        return list(made)

    made = store.run(race())
    assert sum(each is not None for each in made) == 1
    assert len(store.run(store.people.list())[0]) == 1
