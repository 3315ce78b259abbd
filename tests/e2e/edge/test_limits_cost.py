"""Limits of costs over real sockets: what the answer says is settled, however it comes and however it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import request_bytes
from portico.testing.upstream import Connection, Request, response

MOST = 10_000
ESTIMATE = 100


def answered(request: Request, connection: Connection) -> bytes | None:
    """Answers as the target says: /{limit}/{how}/{cost}."""
    how, cost = request.target.split("/")[2:4]
    usage: Any = {"total_tokens": int(cost)} if cost.isdigit() else cost
    fields = [("X-Cost", cost)] if cost != "none" else []
    if how == "json":
        coding = [("X-Coding", request.header("Accept-Encoding") or "")]
        return response(200, json.dumps({"choices": ["x" * 100_000], "usage": usage}).encode(), [*fields, *coding])
    if how == "stream":
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        events = [{"usage": None}, {"choices": [{"delta": "hi"}]}, {"usage": usage, "choices": []}]
        text = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events) + b"data: [DONE]\n\n"
        for at in range(0, len(text), 7):
            piece = text[at : at + 7]
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        return b"0\r\n\r\n"
    if how == "broken":  # after its usage, and before its end
        body = json.dumps({"usage": usage}).encode()
        connection.send(b"HTTP/1.1 200 OK\r\nX-Cost: %b\r\nContent-Length: 9999\r\n\r\n" % cost.encode() + body)
    elif how == "endless":
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n")
        connection.gone()
    connection.close()
    return None


def route(name: str, limit: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "paths": [f"/{name}/*"], "upstream": "up", "limits": [{"by": "header:X-Who", **limit}]}


LIMITS = {
    "header": {"window": f"{MOST}/hour", "cost": {"from": "header:X-Cost", "estimate": ESTIMATE, "most": 5000}},
    "tokens": {"quota": f"{MOST}/day", "cost": {"from": "tokens", "estimate": ESTIMATE}},
    "rate": {"rate": "1/hour", "burst": MOST, "cost": {"from": "tokens", "estimate": ESTIMATE}},
}


class Client:
    """One caller, whose counts are its own."""

    number = 0

    def __init__(self, gateway: GatewayHarness, limit: str) -> None:
        Client.number += 1
        self.gateway = gateway
        self.limit = limit
        self.fields = {"X-Who": f"who{Client.number}", "Accept-Encoding": "gzip"}

    def ask(self, how: str, cost: object) -> Any:
        return self.gateway.request("GET", f"/{self.limit}/{how}/{cost}", headers=self.fields)

    def left(self) -> int:
        """What there is now; the request that asks costs nothing."""
        told = self.ask("json", 0).header("RateLimit")
        return int(told.split(";r=")[1].split(";")[0]) + ESTIMATE

    def comes_to(self, left: int) -> None:
        deadline = time.monotonic() + 5
        while (found := self.left()) != left:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)


@pytest.fixture(scope="module")
def priced(mode: bool, shared_upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    config = {
        "upstreams": {"up": {"targets": [shared_upstream.url]}, "gone": {"targets": ["http://127.0.0.1:1"]}},
        "routes": [*(route(*each) for each in LIMITS.items()),
                   {**route("nobody", LIMITS["tokens"]), "upstream": "gone"}],
    }  # fmt: skip
    with GatewayHarness(config, compiled=mode) as harness:
        yield harness


@pytest.fixture(autouse=True)
def answers(upstream: FakeUpstream) -> None:
    upstream.handler = answered


@pytest.mark.parametrize("limit", LIMITS)
def test_the_truth_is_settled(priced: GatewayHarness, limit: str) -> None:
    client = Client(priced, limit)
    first = client.ask("json", 1234)
    assert first.status == 200
    assert f";r={MOST - ESTIMATE};t=" in first.header("RateLimit"), "the estimate is reserved"
    assert first.header("RateLimit-Policy").endswith(';qu="tokens"' if limit != "header" else ';qu="cost"')
    client.comes_to(MOST - 1234)
    assert client.ask("json", 3).status == 200
    client.comes_to(MOST - 1237)


def test_a_stream_tells_at_its_end_and_passes_as_it_came(priced: GatewayHarness) -> None:
    client = Client(priced, "tokens")
    answer = client.ask("stream", 777)
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert b'data: {"usage": {"total_tokens": 777}, "choices": []}\n\n' in answer.body
    client.comes_to(MOST - 777)


def test_the_upstream_is_asked_for_what_can_be_read(priced: GatewayHarness) -> None:
    assert Client(priced, "tokens").ask("json", 1).header("X-Coding") == "identity"
    assert Client(priced, "header").ask("json", 1).header("X-Coding") == "gzip", "a field needs none of that"


@pytest.mark.parametrize(
    ("limit", "cost"), [("tokens", "none"), ("header", "none"), ("header", "-5"), ("header", "1.5")]
)
def test_what_is_not_told_is_estimated_and_counted(priced: GatewayHarness, limit: str, cost: str) -> None:
    client = Client(priced, limit)
    assert client.ask("json", cost).status == 200
    client.comes_to(MOST - ESTIMATE)
    what = "tokens" if limit == "tokens" else "header:x-cost"
    metrics = priced.request("GET", "/metrics", headers=priced_key(priced)).body.decode()
    line = next(each for each in metrics.splitlines() if f'untold_total{{cost="{what}",route="{limit}"}}' in each)
    assert float(line.split()[-1]) >= 1


def priced_key(gateway: GatewayHarness) -> dict[str, str]:
    from tests.e2e.api import Api, somewhere

    return {"Authorization": f"Bearer {Api(gateway, somewhere()).admin}"}


def test_one_answer_costs_at_most_what_is_configured(priced: GatewayHarness) -> None:
    client = Client(priced, "header")
    assert client.ask("json", 999_999_999).status == 200
    client.comes_to(MOST - 5000)


def test_a_debt_refuses_until_it_is_paid(priced: GatewayHarness) -> None:
    client = Client(priced, "tokens")
    assert client.ask("json", MOST + 1).status == 200
    deadline = time.monotonic() + 5
    while (answer := client.ask("json", 0)).status == 200:
        assert time.monotonic() < deadline
    assert answer.json()["code"] == "quota_exceeded"
    assert ";r=0;t=" in answer.header("RateLimit"), "never below zero"


def test_an_upstream_that_breaks_off_has_told_or_is_estimated(priced: GatewayHarness) -> None:
    told, untold = Client(priced, "tokens"), Client(priced, "tokens")
    for client, cost in ((told, "55"), (untold, "none")):
        with priced.connect() as sock:
            sock.sendall(request_bytes("GET", f"/tokens/broken/{cost}", "gate", client.fields))
            while sock.recv(65536):
                pass
    told.comes_to(MOST - 55)
    untold.comes_to(MOST - ESTIMATE)


def test_a_client_that_leaves_pays_the_estimate(priced: GatewayHarness) -> None:
    client = Client(priced, "tokens")
    with priced.connect() as sock:
        sock.sendall(request_bytes("GET", "/tokens/endless/5", "gate", client.fields))
        assert b"data: {}" in sock.recv(65536)
    client.comes_to(MOST - ESTIMATE)


def test_what_no_upstream_was_asked_costs_nothing(priced: GatewayHarness) -> None:
    client = Client(priced, "nobody")
    for _ in range(3):
        answer = client.ask("json", 5)
        assert answer.status in (502, 503)
        assert f";r={MOST - ESTIMATE};t=" in answer.header("RateLimit")


def test_explain_shows_the_cost_and_what_is_left(priced: GatewayHarness) -> None:
    client = Client(priced, "rate")
    client.ask("json", 4000)
    client.comes_to(MOST - 4000)
    told = priced.cli("explain", "--live", "--json", "GET", "/rate/json/1", "-H", f"X-Who: {client.fields['X-Who']}")
    assert told.returncode == 0, told.stdout + told.stderr
    step = next(each for each in json.loads(told.stdout)["steps"] if each["policy"] == "rate")
    assert (
        "100 is reserved, until usage.total_tokens of the answer says how much it was (at most 1000000)" in step["why"]
    )
    assert any(f";r={MOST - 4000 - ESTIMATE};t=" in why for why in step["why"])


def test_workers_settle_together(upstream: FakeUpstream, redis_url: str) -> None:
    upstream.handler = answered
    limits = {"rate": {"rate": "1/hour", "burst": MOST}, "window": {"window": f"{MOST}/hour"},
              "quota": {"quota": f"{MOST}/day"}}  # fmt: skip
    cost = {"from": "tokens", "estimate": ESTIMATE}
    config = {
        "server": {"workers": 2},
        "state": {"url": redis_url, "wait": "1s"},
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [route(kind, {**each, "cost": cost, "on_store_failure": "closed"}) for kind, each in limits.items()],
    }
    with GatewayHarness(config) as gateway:
        for kind in limits:
            client = Client(gateway, kind)
            for _ in range(12):
                assert client.ask("json", 333).status == 200
            for _ in range(4):
                assert client.ask("stream", 40).status == 200
            spent = 12 * 333 + 4 * 40
            if kind == "rate":  # leases that lapse unused count as used
                deadline = time.monotonic() + 5
                while not MOST - spent - 2 * 1250 <= client.left() <= MOST - spent:
                    assert time.monotonic() < deadline
            else:
                client.comes_to(MOST - spent)
        told = gateway.cli(
            "explain", "--live", "--json", "GET", "/quota/json/1", "-H", f"X-Who: {client.fields['X-Who']}"
        )
        step = next(each for each in json.loads(told.stdout)["steps"] if each["policy"] == "quota")
        assert any("100 is reserved" in why for why in step["why"]), step
        assert any(";r=" in why for why in step["why"]), step
