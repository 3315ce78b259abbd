"""Webhooks on PostgreSQL with two services processes: each event arrives once, whichever of them delivers."""

from __future__ import annotations

from collections import Counter

from tests.e2e.api import running
from tests.e2e.emitting import outside
from tests.e2e.receiver import OK, receiving, status
from tests.e2e.test_webhooks import CONFIG, Owner

from portico.testing.harness import GatewayHarness


def test_two_processes_deliver_each_event_once() -> None:
    config = {**CONFIG, "server": {"services": {"processes": 2}}, "jobs": {"lease": "30s"}}
    refused: Counter[str] = Counter()

    def first_refuses(got: object, sock: object) -> bytes:
        name = got.id  # type: ignore[attr-defined]
        refused[name] += 1
        return OK if refused[name] > 1 else status(500)

    with running("postgresql", config) as api, receiving() as steady, receiving(first_refuses) as moody:
        assert isinstance(api.gateway, GatewayHarness)
        assert isinstance(api.gateway.config, dict)
        owner = Owner(api)
        made = [owner.register(each.url) for each in (steady, moody)]
        with outside(api, api.gateway.config["storage"]["url"]) as inside:
            sent = [name for _ in range(10) for name in inside.emit(owner.id, 10)]
        assert len(sent) == 200
        for each in made:
            page = owner.ended(each["id"], 20, seconds=60)
            assert {delivery["state"] for delivery in page} <= {"succeeded", "pending"}
        steady.wait(100, seconds=60)
        moody.wait(200, seconds=60)
        assert len({got.id for got in steady.got}) == len(steady.got) == 100
        assert len({got.id for got in moody.got}) == 100
        assert len(moody.got) == 200
        for got in steady.got:
            got.verified(made[0]["secret"])
