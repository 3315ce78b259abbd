"""`rate_limit_exceeded`: an owner of webhooks learns that a limit of its own refuses requests, and not too often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.api import Api, running, within
from tests.e2e.emitting import Outside, outside
from tests.e2e.receiver import Got, receiving

CONFIG: dict[str, Any] = {"outbound": {"allow": ["127.0.0.1/32"]}}
WANTED = ["rate_limit_exceeded"]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with running(config=CONFIG) as found:
        yield found


@pytest.fixture(scope="module")
def inside(api: Api) -> Iterator[Outside]:
    with outside(api) as made:
        yield made


def calls(api: Api, key: str, count: int) -> list[int]:
    """The statuses of so many requests of a key."""
    return [api.call("GET", "/webhooks/list", key)[0] for _ in range(count)]


def settled(api: Api, inside: Outside, key: str, refused: int) -> None:
    """Until the edge's counts of a key's refused requests have been taken in: what follows from them has happened."""
    counted = (
        "SELECT coalesce(sum(requests), 0) FROM usage_minutes JOIN usage_callers ON id = caller"
        " WHERE key_id = :key AND status = 429"
    )
    within(20, lambda: inside.execute(counted, key=key)[0][0] == refused)


def told(got: Got, secret: str) -> dict[str, Any]:
    message = got.verified(secret)
    assert message["type"] == "rate_limit_exceeded"
    data: dict[str, Any] = message["data"]
    return data


def test_a_key_that_has_used_up_its_limit_is_told_once_a_minute(api: Api, inside: Outside) -> None:
    made = api.key(rate_limit_per_minute=5)
    with receiving() as receiver, receiving() as other:
        body = {"url": receiver.url, "events": WANTED}
        secret = api.good("POST", "/webhooks/register", made["key"], body)["secret"]
        api.good("POST", "/webhooks/register", made["key"], {"url": other.url})  # wants other events
        assert calls(api, made["key"], 3) == [200] * 3
        assert calls(api, made["key"], 4) == [429] * 4
        (first,) = receiver.wait(1, 20)
        data = told(first, secret)
        assert data["caller"] == {"kind": "key", "id": made["id"]}
        assert (data["limit"], data["count"], data["window_seconds"]) == ("5/minute", 5, 60)
        assert 1 <= data["refused"] <= 4
        assert data["since"] is None
        settled(api, inside, made["id"], 4)
        assert calls(api, made["key"], 3) == [429] * 3
        settled(api, inside, made["id"], 7)
        assert len(receiver.got) == 1, "a minute has not passed"

        inside.execute("UPDATE webhook_endpoints SET limited_at = limited_at - 60000000 WHERE limited_at IS NOT NULL")
        assert calls(api, made["key"], 2) == [429] * 2
        second = told(receiver.wait(2, 20)[1], secret)
        assert second["since"] is not None
        settled(api, inside, made["id"], 9)
        rest = inside.execute("SELECT max(limited) FROM webhook_endpoints")[0][0]
        assert data["refused"] + second["refused"] + rest == 9, "none is lost, none is told twice"
        assert other.got == []


def test_only_those_are_told_who_want_to_be(api: Api, inside: Outside) -> None:
    quiet, loud = api.key(rate_limit_per_minute=1), api.key(rate_limit_per_minute=2)
    with receiving() as receiver:
        api.good("POST", "/webhooks/register", loud["key"], {"url": receiver.url, "events": WANTED})
        assert calls(api, quiet["key"], 4) == [200, 429, 429, 429]
        settled(api, inside, quiet["id"], 3)
        assert receiver.got == [], "what another key has used up is that key's own"
        assert calls(api, loud["key"], 2) == [200, 429]
        (got,) = receiver.wait(1, 20)
        assert b'"id":"%s"' % loud["id"].encode() in got.body
