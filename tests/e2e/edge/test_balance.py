"""How requests are spread over targets, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.edge.faulty import World, config_of, upstreams_of, world

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.upstream import Connection, Request, echo, wait_for

SPECS = {
    "turns": (3, {}),
    "least": (2, {"balance": "least_requests"}),
    "header": (4, {"balance": "hash:header:X-User"}),
    "cookie": (4, {"balance": "hash:cookie:sid"}),
    "client": (4, {"balance": "hash:client"}),
}


@pytest.fixture(scope="module")
def spread(mode: bool) -> Iterator[World]:
    with world(SPECS, mode) as made:
        yield made


def counts(targets: list[FakeUpstream]) -> list[int]:
    return [len(target.requests) for target in targets]


def test_targets_take_turns(spread: World) -> None:
    for _ in range(30):
        assert spread.gateway.request("GET", "/turns/").status == 200
    assert counts(spread.targets["turns"]) == [10, 10, 10]


def test_weights_over_the_wire(mode: bool) -> None:
    with FakeUpstream() as light, FakeUpstream() as heavy:
        config = config_of({"w": {}}, {"w": []})
        config["upstreams"]["w"]["targets"] = [light.url, {"url": heavy.url, "weight": 3}]
        with GatewayHarness(config, compiled=mode) as gateway:
            for _ in range(40):
                gateway.request("GET", "/w/")
        assert counts([light, heavy]) == [10, 30]


def test_least_requests_leaves_the_busy_target_alone(spread: World) -> None:
    targets = spread.targets["least"]
    held = threading.Event()

    def hold(request: Request, connection: Connection) -> bytes:
        if request.target == "/least/hold":
            held.wait(10)
        return echo(request, connection)

    for target in targets:
        target.handler = hold
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(spread.gateway.request, "GET", "/least/hold")
        try:
            wait_for(lambda: sum(counts(targets)) == 1)
            busy = counts(targets).index(1)
            assert spread.states("least")[busy]["outstanding"] == 1
            for _ in range(20):
                assert spread.gateway.request("GET", "/least/").status == 200
            assert counts(targets)[busy] == 1
        finally:
            held.set()
        assert waiting.result().status == 200


@pytest.mark.parametrize(("name", "field"), [("header", "X-User: {}"), ("cookie", "Cookie: a=b; sid={}; c=d")])
def test_the_same_key_meets_the_same_target(spread: World, name: str, field: str) -> None:
    places: dict[int, set[int]] = {}
    for key in [*range(30)] * 3:
        label, _, value = field.format(key).partition(": ")
        assert spread.gateway.request("GET", f"/{name}/{key}", {label: value}).status == 200
    for index, target in enumerate(spread.targets[name]):
        for request in target.requests:
            places.setdefault(int(request.target.rpartition("/")[2]), set()).add(index)
    assert all(len(where) == 1 for where in places.values())
    assert len(places) == 30
    assert len(set.union(*places.values())) > 2, "all keys meet the same targets"


def test_a_client_meets_the_same_target(spread: World) -> None:
    for _ in range(12):
        assert spread.gateway.request("GET", "/client/").status == 200
    assert sorted(counts(spread.targets["client"])) == [0, 0, 0, 12]


def test_requests_without_a_key_go_in_turn(spread: World) -> None:
    before = counts(spread.targets["header"])
    for _ in range(8):
        spread.gateway.request("GET", "/header/none")
    after = counts(spread.targets["header"])
    assert [one - other for one, other in zip(after, before, strict=True)] == [2, 2, 2, 2]


def test_a_target_by_name_is_dialled_at_its_addresses(mode: bool) -> None:
    addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)})
    with FakeUpstream() as target:
        urls = {"named": [f"http://localhost:{target.port}"]}
        config = config_of({"named": {"breaker": {"min_requests": 1_000_000}}}, urls)
        config["routes"][0]["preserve_host"] = False
        with GatewayHarness(config, compiled=mode) as gateway:
            expected = [f"[{each}]:{target.port}" if ":" in each else f"{each}:{target.port}" for each in addresses]
            wait_for(lambda: [entry["address"] for entry in upstreams_of(gateway)[0]["targets"]] == expected)
            for number in range(10):
                answer = gateway.request("POST", "/named/", body=b"%d" % number)
                assert answer.status == 200, "an address that nobody listens on is passed over"
            assert {request.header("Host") for request in target.requests} == {f"localhost:{target.port}"}
