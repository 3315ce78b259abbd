"""Records and what they tell of are one transaction, on either database; what is done to them there is found."""

from __future__ import annotations

import asyncio
import io
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.unit.storage.kit import PASSWORD, Store

from portico.errors import StorageError
from portico.storage.accounts import NewKey
from portico.storage.audit import Origin, acting, check, exporting, note, prune, refusals, search, source, verify
from portico.storage.audit.search import Shown, Wanted
from portico.storage.ids import now

ME = Origin("key", "me", "10.0.0.1", "request-1")


def found(store: Store, **wanted: Any) -> list[Shown]:
    """Newest last."""
    return store.run(search.find(store.db, Wanted(**wanted), limit=500))[0][::-1]


def report(store: Store) -> verify.Report:
    return store.run(check.database(store.db, store.vault, []))


def some(store: Store, count: int = 5) -> None:
    async def work() -> None:
        for number in range(count):
            await store.keys.issue(NewKey(f"key {number}"))

    store.run(work())


def test_every_operation_of_the_repositories_leaves_its_record(store: Store) -> None:
    async def work() -> None:
        with acting(ME):
            key, _ = await store.keys.issue(NewKey("a key", permissions=("a:read",)))
            successor, _ = await store.keys.rotate(key.id, 0.0)
            await store.keys.revoke(successor.id)
            await store.keys.revoke(successor.id)  # nothing is left to do
            person = await store.people.create("ann@example.com", PASSWORD)
            await store.people.update(person.id, roles=("admin",), disabled=True)
            await store.people.update(person.id, disabled=False)
            await store.people.set_password(person.id, PASSWORD)
            person = await store.people.get(person.id)  # type: ignore[assignment]
            session, token = await store.sessions.begin(person)
            await store.sessions.refresh(token)
            await store.sessions.end(session.id)
            _, invitation = await store.invitations.create(email="eve@example.com")
            await store.invitations.register(invitation, NewKey("eve's"), email="eve@example.com")
            await store.invitations.enrol(NewKey("anyone's"))
        await store.signing.rotate()

    store.run(work())
    records = found(store)
    assert [each.action for each in records] == [
        "keys.create", "keys.rotate", "keys.revoke", "people.create", "people.change", "people.change", "people.change",
        "sessions.begin", "sessions.refresh", "sessions.end", "invitations.create", "keys.register", "keys.register",
        "signing_keys.create",
    ]  # fmt: skip
    by_me = records[:-1]
    assert {(each.actor_kind, each.actor, each.source, each.request_id) for each in by_me} == {
        ("key", "me", "10.0.0.1", "request-1")
    }
    assert records[-1].actor_kind == "gateway"
    assert records[4].detail == {"disabled": True, "roles": {"from": ["user"], "to": ["admin"]}}
    assert [each.sequence for each in records] == list(range(1, 15))
    assert report(store).ok
    assert PASSWORD not in json.dumps([each.detail for each in records])


def test_what_did_not_happen_has_no_record(store: Store) -> None:
    async def work() -> None:
        async with store.db.write() as session:
            note(session, "keys.create", ("key", "x"))
            raise LookupError

    with pytest.raises(LookupError):
        store.run(work())
    some(store, 1)
    assert [each.sequence for each in found(store)] == [1]
    assert report(store).ok


def test_what_can_t_be_recorded_is_not_done(own_store: Store) -> None:
    some(own_store, 1)
    own_store.execute("ALTER TABLE audit RENAME TO away")
    with pytest.raises(StorageError):
        some(own_store, 1)
    own_store.execute("ALTER TABLE away RENAME TO audit")
    assert own_store.execute("SELECT count(*) FROM api_keys") == [(1,)]
    own_store.db.trail = None
    with pytest.raises(StorageError, match="can't be recorded"):
        some(own_store, 1)
    assert own_store.execute("SELECT count(*) FROM api_keys") == [(1,)]


def test_tasks_that_write_at_once_make_one_chain(store: Store) -> None:
    async def work() -> None:
        await asyncio.gather(*(store.keys.issue(NewKey(f"key {number}")) for number in range(40)))

    store.run(work())
    assert [each.sequence for each in found(store)] == list(range(1, 41))
    assert report(store).ok


@pytest.mark.parametrize(
    ("statement", "what", "sequence"),
    [
        ("UPDATE audit SET actor_id = 'other' WHERE sequence = 3", verify.ALTERED, 3),
        ("UPDATE audit SET detail = '{}' WHERE sequence = 1", verify.ALTERED, 1),
        ("DELETE FROM audit WHERE sequence = 2", verify.MISSING, 2),
        ("DELETE FROM audit WHERE sequence > 3", verify.TRUNCATED, 4),
        ("UPDATE audit_writers SET sequence = 3", verify.ALTERED, 3),
        ("UPDATE audit SET sequence = -sequence WHERE sequence IN (2, 4)", verify.REORDERED, 2),
        ("DELETE FROM audit_writers", verify.UNKNOWN, 1),
    ],
)
def test_tampering_in_the_database_is_found(store: Store, statement: str, what: str, sequence: int) -> None:
    some(store)
    assert report(store).ok
    store.execute(statement)
    if "-sequence" in statement:
        store.execute("UPDATE audit SET sequence = 6 + sequence WHERE sequence < 0")
    first = report(store).findings[0]
    assert (first.what, first.sequence) == (what, sequence)


def test_an_export_is_verified_without_a_database(store: Store) -> None:
    some(store)
    out = io.StringIO()
    assert store.run(exporting.export(store.db, out, exporting.JSONL, "-")) == 6
    keys = {store.vault.fingerprint: store.vault.key("audit")}
    lines = out.getvalue().splitlines()
    whole = check.export(lines, keys, [])
    assert whole.ok
    assert whole.records == 6
    other = [line.replace("key 2", "key 9") for line in lines]
    first = check.export(other, keys, []).findings[0]
    assert (first.what, first.sequence) == (verify.ALTERED, 3)
    table = io.StringIO()
    store.run(exporting.export(store.db, table, exporting.CSV, "-"))
    assert len(table.getvalue().splitlines()) == 8


def test_pruning_leaves_what_can_be_verified(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    some(store, 6)
    third = found(store)[2].at
    monkeypatch.setattr(prune, "BATCH", 2)
    assert store.run(prune.prune(store.db, store.vault, third + timedelta(microseconds=1))) == 3
    records = found(store)
    assert [each.sequence for each in records[:3]] == [4, 5, 6]
    assert {each.action for each in records[3:]} == {"audit.prune"}
    after = report(store)
    assert after.ok
    assert after.pruned == 3
    store.execute("UPDATE audit_writers SET pruned = 4")
    assert not report(store).ok


def test_filters_and_pages(store: Store) -> None:
    some(store, 3)

    async def work() -> None:
        with acting(ME):
            await store.keys.issue(NewKey("theirs", tenant="other"))
            await store.people.create("ann@example.com", None)

    store.run(work())
    assert [each.tenant for each in found(store, tenant="other")] == ["other"]
    assert len(found(store, actor="me")) == len(found(store, request_id="request-1")) == 2
    assert len(found(store, action="keys")) == len(found(store, action="keys.create")) == 4
    assert found(store, action="key") == found(store, result="refused") == []
    last = found(store)[-1]
    assert found(store, object=last.object) == [last]
    assert found(store, since=last.at)[-1] == last
    assert last not in found(store, until=last.at)
    assert found(store, since=now() + timedelta(seconds=1)) == []
    page, cursor = store.run(search.find(store.db, Wanted(), None, 2))
    rest, end = store.run(search.find(store.db, Wanted(), cursor, 10))
    assert [each.sequence for each in page + rest] == [5, 4, 3, 2, 1]
    assert end is None


def test_refusals_are_recorded_up_to_a_bound_and_counted_above(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    present = time.time()
    monkeypatch.setattr(time, "time", lambda: present)  # the minute does not end meanwhile
    rows = [["key_unknown", "10.0.0.0/24", "users", 2, f"r{number}", "/users"] for number in range(50)]
    known = ["permission_missing", "10.0.0.1", "admin", 1, "r", "/x", "key", "me", "other"]

    async def take(*given: list[Any]) -> None:
        async with store.db.write() as session:
            await refusals.take(session, [{"kind": "refused", "at": 1.0, "rows": list(given)}])

    store.run(take(known))
    mine = found(store, tenant="other")[0]
    assert (mine.actor, mine.code, mine.result, mine.action) == ("me", known[0], "refused", refusals.ACTION)
    for _ in range(100):
        store.run(take(*rows))
    assert len(found(store, action=refusals.ACTION)) == refusals.RECORDS
    rest = 2 * (100 * len(rows) - (refusals.RECORDS - 1))
    assert store.execute("SELECT sum(count) FROM audit_refusals") == [(rest,)]
    assert report(store).ok


def test_counted_refusals_become_one_record_for_each_code(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def take(minute: float) -> None:
        rows = [[f"code_{number % 70}", "10.0.0.0/24", "users", 1, "r", "/users"] for number in range(700)]
        monkeypatch.setattr(time, "time", lambda: minute * 60)
        async with store.db.write() as session:
            await refusals.take(session, [{"kind": "refused", "at": 1.0, "rows": rows}])

    monkeypatch.setattr(refusals, "RECORDS", 0)
    store.run(take(1000))
    store.run(take(1000))
    assert found(store) == []
    store.run(take(1001))
    records = found(store)
    assert len(records) == refusals.CODES + 1
    assert {each.action for each in records} == {refusals.SUMMARY}
    assert sum(each.detail["count"] for each in records) == 1400


def test_keys_of_before_a_change_of_the_master_key_are_there(store: Store) -> None:
    some(store, 1)

    async def keys() -> dict[str, bytes]:
        async with store.db.read() as session:
            row = (await session.execute(text("SELECT id FROM audit_keys"))).one()
            assert row[0] == store.vault.fingerprint
            return await source.keys(session, store.vault)

    assert store.run(keys()) == {store.vault.fingerprint: store.vault.key("audit")}
