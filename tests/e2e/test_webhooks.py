"""Webhooks from their registration to every attempt, against receivers that behave and receivers that don't."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.api import Api, running, within
from tests.e2e.emitting import Outside, outside
from tests.e2e.receiver import OK, SILENCE, Got, drip, receiving, status

from portico.identity import webhooks as signatures
from portico.testing.harness import free_port

CONFIG: dict[str, Any] = {
    "outbound": {"allow": ["127.0.0.1/32"]},
    "plugins": {"webhooks": {"steps": ["100ms", "100ms", "100ms"]}},
    "jobs": {"concurrency": {"webhooks": 4}, "lease": "3s"},
}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with running(config=CONFIG) as found:
        yield found


@pytest.fixture(scope="module")
def inside(api: Api) -> Iterator[Outside]:
    with outside(api) as made:
        yield made


class Owner:
    """A key of its own and what it may do with webhooks."""

    def __init__(self, api: Api, tenant: str | None = None) -> None:
        self.api = api
        made = api.key(tenant=tenant)
        self.id, self.key = made["id"], made["key"]

    def register(self, url: str, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.api.good("POST", "/webhooks/register", self.key, {"url": url, **more})
        return made

    def deliveries(self, webhook: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.api.good("GET", f"/webhooks/{webhook}/deliveries", self.key)["items"]
        return items

    def listed(self, webhook: str) -> dict[str, Any]:
        items = self.api.good("GET", "/webhooks/list", self.key)["items"]
        return next(each for each in items if each["id"] == webhook)

    def ended(self, webhook: str, count: int = 1, seconds: float = 20.0) -> list[dict[str, Any]]:
        """The deliveries, oldest first, once `count` of them have ended."""

        def over() -> bool:
            return sum(each["state"] != "pending" for each in self.deliveries(webhook)) >= count

        within(seconds, over)
        return self.deliveries(webhook)[::-1]


@pytest.fixture
def owner(api: Api) -> Owner:
    return Owner(api)


def test_a_webhook_is_registered_listed_tested_and_removed(owner: Owner) -> None:
    with receiving() as receiver:
        made = owner.register(receiver.url, events=["batch_complete", "batch_complete"])
        assert (made["url"], made["events"], made["retry_count"]) == (receiver.url, ["batch_complete"], 3)
        assert made["secret"].startswith("whsec_")
        listed = owner.listed(made["id"])
        assert "secret" not in listed, "it is shown once"
        assert listed["is_active"]
        tested = owner.api.good("POST", "/webhooks/test", owner.key, {"id": made["id"]})
        assert tested["delivered"]
        assert (tested["attempt"]["http_status"], tested["attempt"]["response_body"]) == (200, "ok")
        assert tested["attempt"]["duration_ms"] > 0
        (got,) = receiver.got
        assert got.verified(made["secret"])["type"] == "test"
        assert (got.id, got.headers["content-type"]) == (tested["delivery_id"], "application/json")
        assert [each["state"] for each in owner.deliveries(made["id"])] == ["succeeded"]
        assert owner.api.call("DELETE", f"/webhooks/{made['id']}", owner.key)[0] == 204
        assert owner.api.call("DELETE", f"/webhooks/{made['id']}", owner.key)[0] == 404
        assert owner.api.good("GET", "/webhooks/list", owner.key)["items"] == []


def test_a_secret_can_be_brought_along(owner: Owner) -> None:
    given = signatures.write(b"k" * 24)
    with receiving() as receiver:
        for text, secret in ((given, given), ("a-plain-secret-of-some-length", None)):
            made = owner.register(receiver.url, secret_token=text)
            assert made["secret"] == (secret or signatures.write(text.encode()))
            owner.api.good("POST", "/webhooks/test", owner.key, {"id": made["id"]})
            receiver.got.pop().verified(made["secret"])
        for text in ("short", "whsec_" + "A" * 12, "whsec_" + "*" * 40, "x" * 65):
            wanted = {"url": receiver.url, "secret_token": text}
            assert owner.api.call("POST", "/webhooks/register", owner.key, wanted)[0] == 422, text


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://127.0.0.2/", "http://[::1]/",
        "http://0x7f000002/", "http://[64:ff9b::7f00:1]/", "http://[::ffff:10.0.0.1]/", "http://user:pw@1.1.1.1/",
        "ftp://1.1.1.1/", "file:///etc/passwd", "http:///", "/relative", "", "http://1.1.1.1 /", "http://h:99999/",
        "http://no-such-host.invalid/", "http://" + "a" * 2100,
    ],
)  # fmt: skip
def test_a_url_that_may_not_be_called_is_not_registered_nor_tested(owner: Owner, url: str) -> None:
    for path, body in (("register", {"url": url}), ("test", {"url": url})):
        code, problem = owner.api.call("POST", f"/webhooks/{path}", owner.key, body)
        assert code == 422, (path, problem)
        assert problem["code"] in ("webhook_url_refused", "invalid_request")


def test_an_event_reaches_those_who_want_it_and_is_signed(owner: Owner, inside: Outside) -> None:
    with receiving() as receiver, receiving() as other:
        made = owner.register(receiver.url)
        owner.register(other.url, events=["batch_complete"])
        (sent,) = inside.emit(owner.id, text="äöü €")
        (got,) = receiver.wait(1)
        message = got.verified(made["secret"])
        assert (got.id, message["type"], message["data"]) == (
            sent,
            "detection_complete",
            {"number": 0, "text": "äöü €"},
        )
        assert message["timestamp"].endswith("Z")
        (delivery,) = owner.ended(made["id"])
        assert (delivery["id"], delivery["state"], len(delivery["attempts"])) == (sent, "succeeded", 1)
        assert other.got == []


def test_failures_are_tried_again_with_the_same_id_and_every_attempt_is_kept(owner: Owner, inside: Outside) -> None:
    answers = iter([status(500, body=b"no\xff"), status(302, "Location: http://169.254.169.254/"), OK])
    with receiving(lambda got, sock: next(answers)) as receiver:
        made = owner.register(receiver.url)
        inside.emit(owner.id)
        (delivery,) = owner.ended(made["id"])
        assert delivery["state"] == "succeeded"
        told = [(each["number"], each["http_status"], each["response_body"]) for each in delivery["attempts"]]
        assert told == [(1, 500, "no�"), (2, 302, ""), (3, 200, "ok")], "a redirect is a failure, and not followed"
        assert len({got.id for got in receiver.got}) == 1
        for got in receiver.got:
            got.verified(made["secret"])
        stats = owner.listed(made["id"])["stats"]
        assert (stats["delivered"], stats["failed"], stats["success_rate"], stats["pending"]) == (1, 2, 0.3333, 0)
        assert stats["failing_since"] is None
        assert stats["mean_duration_ms"] > 0


@pytest.mark.parametrize("retries", [0, 2])
def test_retry_count_says_how_many_steps_are_used(owner: Owner, inside: Outside, retries: int) -> None:
    with receiving(status(503)) as receiver:
        made = owner.register(receiver.url, retry_count=retries)
        inside.emit(owner.id)
        (delivery,) = owner.ended(made["id"])
        assert (delivery["state"], len(delivery["attempts"])) == ("failed", 1 + retries)
        assert owner.listed(made["id"])["stats"]["failing_since"] is not None
        assert len(receiver.got) == 1 + retries


def test_retry_after_is_honoured(owner: Owner, inside: Outside) -> None:
    answers = iter([status(429, "Retry-After: 2"), OK])
    with receiving(lambda got, sock: next(answers)) as receiver:
        owner.register(receiver.url)
        inside.emit(owner.id)
        first, second = receiver.wait(2)
        assert 1.9 < second.at - first.at < 8


def test_410_disables_and_the_owner_is_told(owner: Owner, inside: Outside) -> None:
    with receiving(status(410)) as gone, receiving() as other:
        made = owner.register(gone.url)
        kept = owner.register(other.url, events=["batch_complete"])
        (sent,) = inside.emit(owner.id)
        message = other.wait(1)[0].verified(kept["secret"])
        assert message["type"] == "webhook_disabled"
        assert (message["data"]["id"], message["data"]["reason"]) == (made["id"], "gone")
        found = owner.listed(made["id"])
        assert (found["is_active"], found["disabled_for"]) == (False, "gone")
        (delivery,) = owner.deliveries(made["id"])
        assert (delivery["state"], len(delivery["attempts"])) == ("failed", 1)
        assert inside.emit(owner.id) == []
        code, problem = owner.api.call("POST", f"/webhooks/deliveries/{sent}/replay", owner.key)
        assert (code, problem["code"]) == (409, "webhook_disabled")

        gone.answer = OK
        enabled = owner.api.good("POST", f"/webhooks/{made['id']}/enable", owner.key)
        assert (enabled["is_active"], enabled["disabled_for"], enabled["stats"]["failing_since"]) == (True, None, None)
        assert owner.api.good("POST", f"/webhooks/{made['id']}/enable", owner.key) == enabled, "it is already"
        assert len(inside.emit(owner.id)) == 1
        owner.api.good("POST", f"/webhooks/deliveries/{sent}/replay", owner.key)
        assert sent in [got.id for got in gone.wait(3)[1:]]
        stranger = Owner(owner.api)
        assert owner.api.call("POST", f"/webhooks/{made['id']}/enable", stranger.key)[0] == 404, "its owner's alone"


def test_five_days_of_failures_disable_and_the_owner_is_told(owner: Owner, inside: Outside) -> None:
    with receiving(status(500)) as failing, receiving() as other:
        made = owner.register(failing.url, retry_count=0)
        kept = owner.register(other.url, events=["batch_complete"])
        inside.emit(owner.id)
        owner.ended(made["id"])
        inside.execute(
            "UPDATE webhook_endpoints SET failing_since = failing_since - :days WHERE id = :id",
            id=made["id"], days=5 * 86400 * 1_000_000,
        )  # fmt: skip
        inside.emit(owner.id)
        message = other.wait(1)[0].verified(kept["secret"])
        assert (message["type"], message["data"]["reason"]) == ("webhook_disabled", "failing")
        assert owner.listed(made["id"])["disabled_for"] == "failing"


def test_a_delivery_is_replayed(owner: Owner, inside: Outside) -> None:
    answers = iter([status(500), status(500), OK])
    with receiving(lambda got, sock: next(answers)) as receiver:
        made = owner.register(receiver.url, retry_count=1)
        (sent,) = inside.emit(owner.id)
        owner.ended(made["id"])
        assert owner.api.call("POST", f"/api/v1/webhooks/deliveries/{sent}/replay", owner.key)[0] == 202
        receiver.wait(3)
        (delivery,) = owner.ended(made["id"])
        assert (delivery["state"], [each["http_status"] for each in delivery["attempts"]]) == (
            "succeeded",
            [500, 500, 200],
        )
        assert {got.id for got in receiver.got} == {sent}


def test_a_replaced_secret_signs_beside_the_new_one(owner: Owner, inside: Outside) -> None:
    with receiving() as receiver:
        made = owner.register(receiver.url)
        new = owner.api.good("POST", f"/webhooks/{made['id']}/rotate-secret", owner.key)
        assert new["secret"] != made["secret"]
        inside.emit(owner.id)
        (got,) = receiver.wait(1)
        for secret in (made["secret"], new["secret"]):
            got.verified(secret)
        last = owner.api.good("POST", f"/webhooks/{made['id']}/rotate-secret", owner.key, {"grace_seconds": 0})
        inside.emit(owner.id)
        got = receiver.wait(2)[1]
        got.verified(last["secret"])
        assert got.headers["webhook-signature"].count("v1,") == 1


def test_a_url_of_a_single_request_is_signed_with_the_default_secret(owner: Owner, inside: Outside) -> None:
    path = "/webhooks/default-secret"
    assert owner.api.good("GET", path, owner.key) == {"created_at": None}
    with receiving() as receiver:
        sent = inside.send_to(owner.id, receiver.url + "?a=1", answer=42)
        assert receiver.wait(1)[0].id == sent
        assert owner.api.good("GET", path, owner.key)["created_at"] is not None
        secret = owner.api.good("POST", path, owner.key)["secret"]
        inside.send_to(owner.id, receiver.url, answer=43)
        assert receiver.wait(2)[1].verified(secret)["data"] == {"answer": 43}
        tested = owner.api.good("POST", "/webhooks/test", owner.key, {"url": receiver.url})
        assert (tested["delivered"], tested["delivery_id"]) == (True, None)
        receiver.wait(3)[2].verified(secret)
        assert owner.api.good("GET", "/webhooks/list", owner.key)["items"] == []


def test_of_a_huge_answer_64_kib_are_kept(owner: Owner, inside: Outside) -> None:
    with receiving(status(200, body=b"x" * 5_000_000)) as receiver:
        made = owner.register(receiver.url)
        inside.emit(owner.id)
        (delivery,) = owner.ended(made["id"])
        assert delivery["state"] == "succeeded"
        assert len(delivery["attempts"][0]["response_body"]) == 64 * 1024


def test_one_endpoint_gets_four_at_a_time(owner: Owner, inside: Outside) -> None:
    def slowly(got: Got, sock: socket.socket) -> bytes:
        time.sleep(0.15)
        return OK

    with receiving(slowly) as receiver:
        owner.register(receiver.url)
        inside.emit(owner.id, 16)
        receiver.wait(16)
        assert receiver.most == 4


def test_receivers_that_never_answer_delay_nobody_else(api: Api, inside: Outside) -> None:
    """Six endpoints of one tenant that hang, four turns in all: another tenant's event arrives at once."""
    slow, fast = Owner(api), Owner(api, tenant="quick")
    with contextlib.ExitStack() as stack:
        hanging = [
            stack.enter_context(receiving(answer)) for answer in (SILENCE, drip, SILENCE, drip, SILENCE, SILENCE)
        ]
        made = [slow.register(each.url, retry_count=0)["id"] for each in hanging]
        receiver = stack.enter_context(receiving())
        mine = fast.register(receiver.url)
        inside.emit(slow.id, 2)
        within(10, lambda: any(each.got for each in hanging))
        tried = time.monotonic()
        state, sent = api.call("POST", "/webhooks/test", fast.key, {"id": mine["id"]})
        delivery = sent["delivery_id"]
        assert api.call("POST", f"/webhooks/deliveries/{delivery}/replay", fast.key)[0] == 202
        receiver.wait(2, seconds=5)
        assert time.monotonic() - tried < 5
        first = hanging.index(next(each for each in hanging if each.got))
        ended = slow.ended(made[first], 2, seconds=30)
        for each in ended:
            (attempt,) = each["attempts"]
            assert each["state"] == "failed"
            assert "10 s" in attempt["error"]
            assert 9_500 < attempt["duration_ms"] < 15_000
        assert state == 200


def test_nothing_more_is_sent_to_an_endpoint_that_was_removed(owner: Owner, inside: Outside) -> None:
    goes_on = threading.Event()

    def held(got: Got, sock: socket.socket) -> bytes:
        goes_on.wait(10)
        time.sleep(0.15)
        return OK

    with receiving(held) as receiver:
        made = owner.register(receiver.url)
        inside.emit(owner.id, 60)
        receiver.wait(4)
        assert owner.api.call("DELETE", f"/webhooks/{made['id']}", owner.key)[0] == 204
        assert owner.api.call("GET", f"/webhooks/{made['id']}/deliveries", owner.key)[0] == 404
        goes_on.set()
        at_work = "SELECT count(*) FROM webhook_endpoints WHERE id = :id AND wake IS NOT NULL"
        within(10, lambda: inside.execute(at_work, id=made["id"]) == [(0,)])
        assert len(receiver.got) <= 12, "what was on its way, and a few that were begun before anyone looked"


def test_nobody_has_more_than_fifty(api: Api) -> None:
    owner = Owner(api)
    url = f"http://127.0.0.1:{free_port()}/"
    for _ in range(50):
        owner.register(url)
    code, problem = api.call("POST", "/webhooks/register", owner.key, {"url": url})
    assert (code, problem["code"]) == (409, "taken")
    page = api.good("GET", "/webhooks/list?limit=30", owner.key)
    rest = api.good("GET", f"/webhooks/list?limit=30&after={page['next_cursor']}", owner.key)
    assert (len(page["items"]), len(rest["items"]), rest["next_cursor"]) == (30, 20, None)


def test_a_successor_of_a_key_has_its_webhooks(api: Api, owner: Owner) -> None:
    with receiving() as receiver:
        made = owner.register(receiver.url)
        new = api.good("POST", "/auth/rotate-key", owner.key, {"grace_seconds": 60})
        assert [each["id"] for each in api.good("GET", "/webhooks/list", new["key"])["items"]] == [made["id"]]


def test_attempts_are_counted_in_metrics(api: Api, owner: Owner, inside: Outside) -> None:
    with receiving() as receiver:
        made = owner.register(receiver.url)
        inside.emit(owner.id)
        owner.ended(made["id"])
    reader = api.key("metrics:read")["key"]

    def told() -> bool:
        text = api.send("GET", "/metrics", reader).body.decode()
        return (
            'portico_webhook_attempts_total{outcome="delivered"}' in text
            and 'portico_webhook_deliveries_total{state="succeeded"}' in text
            and 'portico_outbound_calls_total{outcome="2xx",purpose="webhook"}' in text
            and 'portico_outbound_seconds_count{purpose="webhook"}' in text
        )

    within(10, told)


def test_administrators_see_how_webhooks_fare(api: Api) -> None:
    tenant = f"hooks-{secrets.token_hex(4)}"
    owner = Owner(api, tenant)
    reader = api.key("stats:read", tenant=tenant)["key"]
    with receiving() as receiver:
        good = owner.register(receiver.url)
        bad = owner.register(f"http://127.0.0.1:{free_port()}/secret-path")
        for each in (good, bad):
            api.good("POST", "/webhooks/test", owner.key, {"id": each["id"]})
    found = api.good("GET", "/admin/stats", reader)["webhooks"]
    assert (found["endpoints"], found["disabled"], found["pending"]) == (2, 0, 0)
    assert (found["attempts"]["delivered"], found["attempts"]["failed"]) == (1, 1)
    assert found["attempts"]["delivery_rate"] == 0.5
    assert found["attempts"]["mean"] > 0
    (worst,) = found["worst"]
    assert (worst["id"], worst["host"], worst["attempts"]["delivery_rate"]) == (bad["id"], "127.0.0.1", 0.0)
    assert "secret-path" not in str(found)


def test_a_reload_loses_nothing_and_sends_nothing_twice(api: Api, inside: Outside) -> None:
    def slowly(got: Got, sock: socket.socket) -> bytes:
        time.sleep(0.03)
        return OK

    owner = Owner(api)
    with receiving(slowly) as receiver:
        made = owner.register(receiver.url)
        sent = inside.emit(owner.id, 200)
        receiver.wait(20)
        changed = {"webhooks": {"steps": ["100ms", "100ms", "100ms", "100ms"]}}
        api.gateway.rewrite({**CONFIG, "plugins": changed})
        api.gateway.reload()
        receiver.wait(200, seconds=60)
        within(20, lambda: owner.listed(made["id"])["stats"]["delivered"] == 200)
        assert sorted(got.id for got in receiver.got) == sorted(sent)


def test_a_gateway_that_is_killed_between_the_call_and_its_record_delivers_again(api: Api, inside: Outside) -> None:
    owner = Owner(api)
    killed: list[int] = []

    def kill(got: Got, sock: socket.socket) -> bytes | None:
        if not killed:
            killed.extend(each["pid"] for each in api.gateway.status()["processes"] if each["role"] == "services")
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            return None
        return OK

    with receiving(kill) as receiver:
        made = owner.register(receiver.url)
        sent = inside.emit(owner.id, 8)
        receiver.wait(9, seconds=60)
        within(60, lambda: api.call("GET", "/webhooks/list", owner.key)[0] == 200)
        ended = owner.ended(made["id"], 8, seconds=60)
        assert {each["id"] for each in ended} == set(sent)
        assert {each["state"] for each in ended} == {"succeeded"}
        assert {got.id for got in receiver.got} == set(sent), "at least once, each"
        assert killed
