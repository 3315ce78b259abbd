"""What is kept of webhooks, on both kinds of database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.unit.storage.kit import Store

from portico.errors import Missing, Taken
from portico.storage.accounts.records import NewKey
from portico.storage.ids import now, uuid7
from portico.storage.tables import SEALED
from portico.storage.webhooks import Deliveries, Due, Endpoint, Endpoints, Result, Results, Secrets
from portico.storage.webhooks import deliveries as module
from portico.storage.webhooks.deliveries import Wake

T = TypeVar("T")
OWNER = "key:one"
BODY = b'{"type":"test"}'


class Kept:
    """The repositories over a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.secrets = Secrets(store.vault)
        self.endpoints = Endpoints(store.db, self.secrets)
        self.deliveries = Deliveries(store.db, self.endpoints, self.secrets)
        self.results = Results(store.db, self.secrets)

    def endpoint(self, tenant: str = "default", owner: str = OWNER, *events: str, retries: int = 3) -> Endpoint:
        wanted = events or ("detection_complete",)
        made = self.endpoints.register(tenant, owner, "https://example.com/", wanted, retries, b"s" * 32)
        return self.store.run(made)

    def within(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async def inside() -> T:
            async with self.store.db.write() as session:
                return await work(session)

        return self.store.run(inside())

    def add(self, event: str = "detection_complete", owner: str = OWNER, **more: Any) -> tuple[list[str], list[Wake]]:
        return self.within(lambda session: self.deliveries.add(session, "default", owner, event, [BODY], **more))

    def due(self, endpoint: str) -> list[Due]:
        return self.store.run(self.deliveries.due(endpoint, 100))

    def write(self, endpoint: str, *results: Result) -> None:
        self.within(lambda session: self.results.write(session, endpoint, results))

    def again(self, delivery: str) -> tuple[str, list[Wake]]:
        return self.within(lambda session: self.deliveries.again(session, "default", OWNER, delivery))

    def hand_over(self, wake: Wake) -> list[Wake]:
        return self.within(lambda session: self.deliveries.hand_over(session, wake.endpoint, wake.token))

    def get(self, endpoint: str) -> Endpoint:
        return self.store.run(self.endpoints.get("default", OWNER, endpoint))


def result(delivery: str, number: int = 1, **more: Any) -> Result:
    good = Result(delivery, number, now(), 200, b"ok", 0.5, "", True, "succeeded", 0, None)
    return replace(good, **more)


def failure(delivery: str, **more: Any) -> Result:
    wait = {"state": "pending", "next_at": now() + timedelta(hours=1), "step": 1, "http_status": 500}
    return result(delivery, **{"succeeded": False, **wait, **more})


@pytest.fixture
def kept(store: Store) -> Kept:
    return Kept(store)


def test_an_event_goes_to_the_owner_s_endpoints_that_want_it(kept: Kept) -> None:
    one = kept.endpoint()
    both = kept.endpoint("default", OWNER, "detection_complete", "batch_complete")
    kept.endpoint("default", "key:two", "batch_complete")
    kept.endpoint("other", OWNER, "batch_complete")
    made, wakes = kept.add("batch_complete")
    assert [each.endpoint for each in wakes] == [both.id]
    assert [each.id for each in kept.due(both.id)] == made
    assert kept.due(one.id) == []
    made, wakes = kept.add("webhook_disabled", to_all=True)
    assert len(made) == 2
    assert [each.endpoint for each in wakes] == [one.id], "the other has a job that is about to look"


def test_many_events_are_one_job_and_the_last_job_leaves_none(kept: Kept) -> None:
    endpoint = kept.endpoint()
    wakes = [wake for _ in range(20) for wake in kept.add()[1]]
    assert len(wakes) == 1
    job = wakes[0]
    target = kept.store.run(kept.deliveries.target(endpoint.id, job.token))
    assert target is not None
    assert (target.url, target.secrets, target.retry_count) == ("https://example.com/", (b"s" * 32,), 3)
    assert kept.store.run(kept.deliveries.target(endpoint.id, uuid7())) is None, "another job does not count"
    due = kept.due(endpoint.id)
    assert len(due) == 20
    kept.write(endpoint.id, *(result(each.id) for each in due))
    assert kept.get(endpoint.id).pending == 0
    assert kept.hand_over(job) == []
    assert len(kept.add()[1]) == 1, "the next event makes a job again"


def test_what_is_left_is_the_next_job_s_and_an_event_does_not_wait_for_it(kept: Kept) -> None:
    endpoint = kept.endpoint()
    (first,), (job,) = kept.add()
    kept.write(endpoint.id, failure(first))
    (later,) = kept.hand_over(job)
    assert 3590 < later.delay <= 3600
    assert kept.hand_over(job) == [], "a job that has handed over has nothing to say"
    _, wakes = kept.add()
    assert [each.delay for each in wakes] == [0.0]
    assert kept.store.run(kept.deliveries.target(endpoint.id, later.token)) is None, "the later job is void"
    assert [each.id for each in kept.due(endpoint.id)] != [first]


def test_an_event_that_is_committed_while_a_job_ends_is_not_forgotten(kept: Kept) -> None:
    """The two transactions take turns on the endpoint's row, whichever comes first."""
    endpoint = kept.endpoint()

    async def emit() -> list[Wake]:
        async with kept.store.db.write() as session:
            return (await kept.deliveries.add(session, "default", OWNER, "detection_complete", [BODY]))[1]

    async def end(wake: Wake) -> list[Wake]:
        async with kept.store.db.write() as session:
            return await kept.deliveries.hand_over(session, wake.endpoint, wake.token)

    async def race() -> None:
        for _ in range(30):
            (job,) = await emit()
            for due in await kept.deliveries.due(endpoint.id, 100):
                async with kept.store.db.write() as session:
                    await kept.results.write(session, endpoint.id, [result(due.id)])
            found = await asyncio.gather(emit(), end(job), emit())
            wakes = [wake for each in found for wake in each]
            assert len(wakes) == 1
            target = await kept.deliveries.target(endpoint.id, wakes[0].token)
            assert target is not None
            for due in await kept.deliveries.due(endpoint.id, 100):
                async with kept.store.db.write() as session:
                    await kept.results.write(session, endpoint.id, [result(due.id)])
            assert await end(wakes[0]) == []

    kept.store.run(race())


def test_attempts_are_kept_in_order_with_what_was_answered(kept: Kept) -> None:
    endpoint = kept.endpoint()
    (name,), _ = kept.add()
    kept.write(endpoint.id, failure(name, response_body=b"\xff", error="", next_at=now() - timedelta(seconds=1)))
    assert [(each.attempts, each.step) for each in kept.due(endpoint.id)] == [(1, 1)]
    last = failure(name, http_status=None, error="there was no answer", response_body=b"", state="failed", step=2)
    kept.write(endpoint.id, replace(last, next_at=None))
    page, following = kept.store.run(kept.deliveries.page("default", OWNER, endpoint.id, None, 10))
    assert following is None
    (delivery,) = page
    assert (delivery.state, delivery.next_at, delivery.event) == ("failed", None, "detection_complete")
    assert delivery.ended_at is not None
    told = [(each.number, each.http_status, each.response_body, each.error) for each in delivery.attempts]
    assert told == [(1, 500, b"\xff", ""), (2, None, b"", "there was no answer")]
    found = kept.get(endpoint.id)
    assert (found.delivered, found.failed, found.pending, found.seconds) == (0, 2, 0, 1.0)
    assert found.failing_since is not None


def test_a_delivery_that_has_succeeded_stays_so(kept: Kept) -> None:
    """Two workers may send the same: what the slower one was told changes nothing."""
    endpoint = kept.endpoint()
    (name,), _ = kept.add()
    kept.write(endpoint.id, result(name))
    kept.write(endpoint.id, failure(name))
    page, _ = kept.store.run(kept.deliveries.page("default", OWNER, endpoint.id, None, 10))
    assert page[0].state == "succeeded"
    assert len(page[0].attempts) == 2


def test_a_delivery_that_has_ended_is_queued_again_with_all_its_steps(kept: Kept) -> None:
    endpoint = kept.endpoint()
    (name,), (job,) = kept.add()
    assert kept.again(name) == ("pending", [])
    kept.write(endpoint.id, failure(name, state="failed", next_at=None, step=4))
    kept.hand_over(job)
    state, wakes = kept.again(name)
    assert state == "failed"
    assert len(wakes) == 1
    assert [(each.id, each.attempts, each.step) for each in kept.due(endpoint.id)] == [(name, 1, 0)]
    for tenant, owner in (("default", "key:two"), ("other", OWNER)):
        with pytest.raises(Missing):
            kept.within(lambda session, t=tenant, o=owner: kept.deliveries.again(session, t, o, name))
    with pytest.raises(Missing):
        kept.again("nothing")


def test_a_disabled_endpoint_gets_nothing_more(kept: Kept) -> None:
    endpoint = kept.endpoint()
    (name,), (job,) = kept.add()
    assert kept.within(lambda session: kept.results.disable(session, endpoint.id, "gone"))
    assert not kept.within(lambda session: kept.results.disable(session, endpoint.id, "gone"))
    assert kept.due(endpoint.id) == []
    assert kept.add() == ([], [])
    assert kept.hand_over(job) == []
    assert kept.again(name) == ("gone", [])
    found = kept.get(endpoint.id)
    assert (found.disabled_for, found.pending) == ("gone", 0)


def test_a_removed_endpoint_is_nobody_s_and_its_rows_go_bit_by_bit(kept: Kept) -> None:
    endpoint = kept.endpoint()
    (name,), (job,) = kept.add()
    with pytest.raises(Missing):
        kept.store.run(kept.endpoints.remove("default", "key:two", endpoint.id))
    kept.store.run(kept.endpoints.remove("default", OWNER, endpoint.id))
    for work in (kept.get, lambda id_: kept.store.run(kept.deliveries.page("default", OWNER, id_, None, 10))):
        with pytest.raises(Missing):
            work(endpoint.id)
    with pytest.raises(Missing):
        kept.again(name)
    assert kept.add() == ([], [])
    assert kept.store.run(kept.deliveries.target(endpoint.id, job.token)) is None
    kept.write(endpoint.id, result(name))  # an attempt that was on its way
    kept.store.run(kept.results.prune(now() - timedelta(days=30)))
    for table in ("webhook_endpoints", "webhook_secrets", "webhook_deliveries", "webhook_attempts"):
        assert kept.store.execute(f"SELECT count(*) FROM {table}")[0][0] == 0, table
    kept.write(endpoint.id, result(name))  # and one that came later still


def test_old_deliveries_are_removed_and_what_waits_is_not(kept: Kept) -> None:
    endpoint = kept.endpoint()
    old, waiting = kept.add()[0][0], kept.add()[0][0]
    kept.write(endpoint.id, result(old))
    assert kept.store.run(kept.results.prune(now() - timedelta(days=1))) == 0
    assert kept.store.run(kept.results.prune(now() + timedelta(days=1))) == 1
    assert [each.id for each in kept.due(endpoint.id)] == [waiting]


def test_no_more_than_fifty_endpoints_of_one_owner(kept: Kept) -> None:
    made = [kept.endpoint() for _ in range(50)]
    with pytest.raises(Taken):
        kept.endpoint()
    kept.endpoint("default", "key:two")
    kept.store.run(kept.endpoints.remove("default", OWNER, made[0].id))
    kept.endpoint()
    first, following = kept.store.run(kept.endpoints.list("default", OWNER, None, 30))
    rest, end = kept.store.run(kept.endpoints.list("default", OWNER, following, 30))
    assert (len(first), len(rest), end) == (30, 20, None)


def test_too_many_that_wait_are_dropped_and_counted(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    endpoint = kept.endpoint()
    assert [len(kept.add()[0]) for _ in range(5)] == [1, 1, 1, 0, 0]
    found = kept.get(endpoint.id)
    assert (found.pending, found.dropped) == (3, 2)


def test_a_replaced_secret_signs_until_its_grace_is_over(kept: Kept) -> None:
    endpoint = kept.endpoint()
    _, (job,) = kept.add()

    def signing() -> tuple[bytes, ...]:
        target = kept.store.run(kept.deliveries.target(endpoint.id, job.token))
        assert target is not None
        return target.secrets

    kept.store.run(kept.endpoints.rotate("default", OWNER, endpoint.id, b"2" * 32, 3600))
    assert signing() == (b"2" * 32, b"s" * 32)
    kept.store.run(kept.endpoints.rotate("default", OWNER, endpoint.id, b"3" * 32, 3600))
    assert signing() == (b"3" * 32, b"2" * 32), "two sign at a time"
    kept.store.run(kept.endpoints.rotate("default", OWNER, endpoint.id, b"4" * 32, 0))
    assert signing() == (b"4" * 32,)
    with pytest.raises(Missing):
        kept.store.run(kept.endpoints.rotate("default", "key:two", endpoint.id, b"5" * 32, 0))


def test_secrets_are_sealed(kept: Kept) -> None:
    kept.endpoint()
    assert "webhook_secrets" in {each.table for each in SEALED}
    ((sealed,),) = kept.store.execute("SELECT sealed FROM webhook_secrets")
    assert b"ssss" not in bytes(sealed)


def test_urls_of_single_requests_share_an_origin_and_the_owner_s_default_secret(kept: Kept) -> None:
    def send(owner: str, path: str) -> tuple[list[str], list[Wake]]:
        origin = "https://example.com"
        return kept.within(
            lambda session: kept.deliveries.add_to(session, "default", owner, origin + path, origin, "x", BODY, 3)
        )

    (first,), (job,) = send(OWNER, "/a")
    (second,), none = send(OWNER, "/b")
    assert none == []
    send("key:two", "/a")
    assert [(each.id, each.url) for each in kept.due(job.endpoint)] == [
        (first, "https://example.com/a"),
        (second, "https://example.com/b"),
    ]
    target = kept.store.run(kept.deliveries.target(job.endpoint, job.token))
    assert target is not None
    assert (target.kind, len(target.secrets)) == ("request", 1)
    kept.store.run(kept.endpoints.rotate_default("default", OWNER, b"n" * 32, 3600))
    changed = kept.store.run(kept.deliveries.target(job.endpoint, job.token))
    assert changed is not None
    assert changed.secrets == (b"n" * 32, *target.secrets)
    assert kept.store.run(kept.endpoints.list("default", OWNER))[0] == [], "it is not among the registered ones"
    assert kept.add() == ([], [])


def test_many_first_uses_make_one_default_secret(kept: Kept) -> None:
    async def first() -> None:
        async with kept.store.db.write() as session:
            await kept.secrets.default(session, "default", OWNER)

    async def all_at_once() -> None:
        await asyncio.gather(*(first() for _ in range(8)))

    kept.store.run(all_at_once())
    assert kept.store.execute("SELECT count(*) FROM webhook_secrets") == [(1,)]


def test_keys_that_replaced_one_another_are_one_owner(kept: Kept) -> None:
    record, _ = kept.store.run(kept.store.keys.issue(NewKey(name="k")))
    after, _ = kept.store.run(kept.store.keys.rotate(record.id, 60))
    assert after.id != record.id
    for each in (record.id, after.id):
        assert kept.store.run(kept.endpoints.owner("key", each)) == f"key:{record.id}"
    assert kept.store.run(kept.endpoints.owner("key", "static")) == "key:static"
    assert kept.store.run(kept.endpoints.owner("person", record.id)) == f"person:{record.id}"


def test_a_job_that_was_lost_is_made_anew(kept: Kept) -> None:
    endpoint = kept.endpoint()
    _, (job,) = kept.add()

    def forgotten(since: timedelta) -> list[Wake]:
        return kept.within(lambda session: kept.deliveries.forgotten(session, now() - since))

    assert forgotten(timedelta(minutes=10)) == []
    (other,) = forgotten(timedelta(seconds=-1))
    assert (other.endpoint, other.token != job.token) == (endpoint.id, True)


def test_a_count_that_has_drifted_is_put_right_when_nothing_waits(kept: Kept) -> None:
    endpoint = kept.endpoint()
    _, (job,) = kept.add()
    kept.store.execute("DELETE FROM webhook_deliveries")
    assert kept.get(endpoint.id).pending == 1
    assert kept.hand_over(job) == []
    assert kept.get(endpoint.id).pending == 0
