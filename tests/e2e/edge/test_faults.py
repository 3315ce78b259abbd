"""Retries, breakers, health checks: what becomes of requests when targets fail."""

from __future__ import annotations

import itertools
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.edge.faulty import World, config_of, dies, says, silent, world

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Reader, request_bytes
from portico.testing.harness import free_port
from portico.testing.upstream import Connection, Request, echo, response, wait_for

NO_BREAKER = {"min_requests": 1_000_000}
EAGER = {"min_requests": 5, "window": "10s", "open_for": "500ms"}
SPECS = {
    "post": (1, {"retries": {"attempts": 5, "budget": "100%"}, "breaker": NO_BREAKER}),
    "pair": (2, {"retries": {"budget": "100%"}, "breaker": NO_BREAKER}),
    "status": (2, {"retries": {"budget": "100%"}, "breaker": NO_BREAKER}),
    "budget": (2, {"retries": {"budget": "10%"}, "breaker": NO_BREAKER}),
    "never": (2, {"retries": {"attempts": 0}, "breaker": NO_BREAKER}),
    "named": (2, {"retries": {"on": ["418"], "budget": "100%"}, "breaker": NO_BREAKER}),
    "broken": (2, {"retries": {"attempts": 0}, "breaker": EAGER}),
    "mended": (2, {"retries": {"attempts": 0}, "breaker": EAGER}),
    "lone": (1, {"retries": {"attempts": 0}, "breaker": {**EAGER, "open_for": "1500ms"}}),
    "left": (1, {"retries": {"attempts": 0}, "breaker": EAGER}),
    "slow": (
        2,
        {"retries": {"attempts": 0}, "breaker": {**EAGER, "open_for": "1m"}, "timeouts": {"first_byte": "300ms"}},
    ),
    "stale": (1, {"breaker": NO_BREAKER}),
}


@pytest.fixture(scope="module")
def faulty(mode: bool) -> Iterator[World]:
    with world(SPECS, mode) as made:
        yield made


def executed_once(faulty: World, count: int) -> None:
    """`count` POSTs, of which the upstream kills every second one after it has read it."""
    (target,) = faulty.targets["post"]
    target.requests.clear()
    turn = itertools.count()
    target.handler = lambda request, connection: (
        dies(request, connection) if next(turn) % 2 else echo(request, connection)
    )
    statuses: Counter[int] = Counter()
    for number in range(count):
        method = ("POST", "PATCH")[number % 4 // 2]
        body = b"x" * (number % 3)
        statuses[faulty.gateway.request(method, f"/post/{number}", body=body).status] += 1
    seen = Counter(request.target for request in target.requests)
    assert set(seen.values()) == {1}
    assert len(seen) == count
    assert statuses == {200: count // 2, 502: count // 2}


def test_a_post_whose_upstream_dies_is_executed_once(faulty: World) -> None:
    executed_once(faulty, 100)


@pytest.mark.long
def test_a_thousand_posts_are_executed_once(faulty: World) -> None:
    executed_once(faulty, 1000)


def test_a_get_whose_upstream_dies_is_answered_by_the_other(faulty: World) -> None:
    one, other = faulty.targets["pair"]
    one.handler = dies
    before = faulty.outcomes("pair").get("retried", 0)
    for number in range(20):
        assert faulty.gateway.request("GET", f"/pair/{number}").status == 200
    assert len(one.requests) == 10, "turns are not taken"
    assert Counter(request.target for request in other.requests) == {f"/pair/{number}": 1 for number in range(20)}
    assert faulty.outcomes("pair")["retried"] - before == 10


def test_a_put_with_a_body_is_not_sent_twice(faulty: World) -> None:
    for target in faulty.targets["pair"]:
        target.requests.clear()
        target.handler = dies
    answer = faulty.gateway.request("PUT", "/pair/put", body=b"body")
    assert (answer.status, answer.json()["code"]) == (502, "upstream_reset")
    assert sum(len(target.requests) for target in faulty.targets["pair"]) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_answer_that_says_try_again_is_replaced(faulty: World, status: int) -> None:
    one, other = faulty.targets["status"]
    one.handler, other.handler = says(status, b"the first"), echo
    for _ in range(6):
        answer = faulty.gateway.request("GET", "/status/")
        assert answer.status == 200
        assert b"the first" not in answer.body
    answers = [faulty.gateway.request("POST", "/status/") for _ in range(4)]
    assert sorted(answer.status for answer in answers) == [200, 200, status, status], "a POST was tried again"
    one.handler = other.handler = says(status, b"the last")
    answer = faulty.gateway.request("GET", "/status/")
    assert (answer.status, answer.body) == (status, b"the last"), "the upstream's own answer"
    one.handler = other.handler = says(500)
    assert faulty.gateway.request("GET", "/status/").status == 500


def test_after_an_interim_answer_nothing_is_tried_again(faulty: World) -> None:
    for target in faulty.targets["status"]:
        target.requests.clear()
        target.handler = lambda *_: b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(503)
    answer = faulty.gateway.request("GET", "/status/")
    assert (answer.status, answer.interim) == (503, [103])
    assert sum(len(target.requests) for target in faulty.targets["status"]) == 1


def test_a_connection_whose_answer_was_dropped_is_right_for_the_next(faulty: World) -> None:
    one, other = faulty.targets["status"]
    one.handler = lambda request, _: response(503, b"x" * 1000) if request.target == "/status/bad" else echo(request, _)
    other.handler = echo
    for number in range(30):
        assert faulty.gateway.request("GET", "/status/bad").json()["target"] == "/status/bad"
        assert faulty.gateway.request("GET", f"/status/{number}").json()["target"] == f"/status/{number}"


def test_retries_stay_under_the_budget(faulty: World) -> None:
    targets = faulty.targets["budget"]
    for target in targets:
        target.handler = says(503)
    began = time.monotonic()
    for _ in range(150):
        assert faulty.gateway.request("GET", "/budget/").status == 503
    floor = 3 * (int(time.monotonic() - began) + 2)
    retried = sum(len(target.requests) for target in targets) - 150
    assert 10 <= retried <= 15 + floor
    assert faulty.outcomes("budget")["retried"] == retried


def test_no_attempts_no_retries(faulty: World) -> None:
    for target in faulty.targets["never"]:
        target.handler = says(503)
    assert [faulty.gateway.request("GET", "/never/").status for _ in range(4)] == [503] * 4
    assert sum(len(target.requests) for target in faulty.targets["never"]) == 4


def test_only_what_is_named_is_tried_again(faulty: World) -> None:
    one, other = faulty.targets["named"]
    one.handler = says(418)
    assert [faulty.gateway.request("GET", "/named/").status for _ in range(4)] == [200] * 4
    one.handler = says(503)
    assert sorted(faulty.gateway.request("GET", "/named/").status for _ in range(4)) == [200, 200, 503, 503]
    assert len(other.requests) == 6


def test_a_kept_connection_that_was_closing_is_replaced_by_a_new_one(faulty: World) -> None:
    (target,) = faulty.targets["stale"]
    target.handler = lambda request, connection: time.sleep(0.05) or echo(request, connection)  # type: ignore[func-returns-value]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: faulty.gateway.request("GET", "/stale/"), range(8)))
    wait_for(lambda: faulty.states("stale")[0]["idle"] >= 4)
    first = {connection.index for connection in target.accepted}
    # An upstream that restarts ends all its idle connections at once, some of them only when they are used.
    target.handler = lambda request, connection: (
        connection.reset() if connection.index in first else echo(request, connection)
    )
    assert [faulty.gateway.request("GET", "/stale/").status for _ in range(3)] == [200] * 3


def test_a_request_with_a_body_goes_on_when_a_target_takes_no_connection(mode: bool) -> None:
    with FakeUpstream() as alive:
        urls = {"half": [f"http://127.0.0.1:{free_port()}", alive.url]}
        specs = {"half": {"retries": {"budget": "100%"}, "breaker": {"min_requests": 6, "open_for": "1m"}}}
        with GatewayHarness(config_of(specs, urls), compiled=mode) as gateway:
            made = World(gateway, {"half": [alive]})
            for number in range(20):
                answer = gateway.request("POST", "/half/", body=b"%d" % number)
                assert (answer.status, answer.json()["body"]) == (200, str(number))
            assert len(alive.requests) == 20
            assert made.standing("half") == ["open", "up"], "refused connections don't open the breaker"
            assert made.outcomes("half")["retried"] == 6


def test_a_target_that_fails_is_left_alone_and_tried_by_one_request(faulty: World) -> None:
    one, _ = faulty.targets["broken"]
    one.handler = dies
    statuses = Counter(faulty.gateway.request("GET", "/broken/").status for _ in range(30))
    assert statuses[502] == 5, "it opens with the fifth failure"
    assert len(one.requests) == 5
    assert faulty.standing("broken") == ["open", "up"]
    one.handler = silent  # the one that tries it gets no answer for now
    time.sleep(0.6)
    with ThreadPoolExecutor(12) as pool, faulty.gateway.connect() as probe:
        probe.sendall(request_bytes("GET", "/broken/probe", "a"))
        wait_for(lambda: len(one.requests) == 6)
        answers = list(pool.map(lambda _: faulty.gateway.request("GET", "/broken/").status, range(40)))
        assert answers == [200] * 40
        assert faulty.standing("broken") == ["half_open", "up"]
        assert len(one.requests) == 6, "exactly one request tries it"
    assert one.requests[5].target == "/broken/probe"


def test_it_closes_when_the_one_goes_well_and_then_starts_slowly(faulty: World) -> None:
    one, other = faulty.targets["mended"]
    one.handler = dies
    for _ in range(12):
        faulty.gateway.request("GET", "/mended/")
    assert faulty.standing("mended") == ["open", "up"]
    time.sleep(0.6)
    faulty.gateway.request("GET", "/mended/")  # tries it, and fails
    assert faulty.standing("mended") == ["open", "up"]
    one.handler = echo
    time.sleep(0.6)
    one.requests.clear()
    other.requests.clear()
    assert [faulty.gateway.request("GET", "/mended/").status for _ in range(50)] == [200] * 50
    assert faulty.standing("mended") == ["slow_start", "up"]
    assert 1 <= len(one.requests) < 15 < len(other.requests)


def test_all_targets_out_is_503_with_a_time_to_come_back(faulty: World) -> None:
    (target,) = faulty.targets["lone"]
    target.handler = dies
    assert [faulty.gateway.request("GET", "/lone/").status for _ in range(5)] == [502] * 5
    asked = len(target.requests)
    answer = faulty.gateway.request("GET", "/lone/")
    assert (answer.status, answer.json()["code"]) == (503, "upstream_unavailable")
    assert answer.header("Retry-After") == "2"
    assert len(target.requests) == asked
    target.handler = echo
    time.sleep(1.6)
    assert [faulty.gateway.request("GET", "/lone/").status for _ in range(3)] == [200] * 3
    assert faulty.outcomes("lone")["upstream_unavailable"] == 1


def test_a_probe_whose_client_leaves_is_followed_by_another(faulty: World) -> None:
    (target,) = faulty.targets["left"]
    target.handler = dies
    for _ in range(5):
        faulty.gateway.request("GET", "/left/")
    target.handler = silent
    time.sleep(0.6)
    with faulty.gateway.connect() as sock:
        sock.sendall(request_bytes("GET", "/left/", "a"))
        wait_for(lambda: len(target.requests) == 6)
    target.handler = echo
    wait_for(lambda: faulty.gateway.request("GET", "/left/").status == 200)


def test_a_target_that_does_not_answer_in_time_is_left_alone(faulty: World) -> None:
    one, _ = faulty.targets["slow"]
    one.handler = silent
    with ThreadPoolExecutor(10) as pool:
        statuses = Counter(pool.map(lambda _: faulty.gateway.request("GET", "/slow/").status, range(10)))
    assert statuses == {504: 5, 200: 5}
    assert faulty.standing("slow") == ["open", "up"]
    assert [faulty.gateway.request("GET", "/slow/").status for _ in range(10)] == [200] * 10


def test_clients_that_leave_are_no_failures(faulty: World) -> None:
    for target in faulty.targets["never"]:
        target.handler = silent
    socks: list[socket.socket] = []
    for _ in range(30):
        sock = faulty.gateway.connect()
        sock.sendall(request_bytes("GET", "/never/", "a"))
        socks.append(sock)
    for sock in socks:
        sock.close()
    wait_for(lambda: all(target["outstanding"] == 0 for target in faulty.states("never")))
    assert faulty.standing("never") == ["up", "up"]


CHECKED = {"path": "/up", "interval": "50ms", "timeout": "500ms", "healthy_after": 3, "unhealthy_after": 2}


def well(request: Request, connection: Connection) -> bytes:
    return response(204, length=False) if request.target == "/up" else echo(request, connection)


def ill(request: Request, connection: Connection) -> bytes:
    return response(500) if request.target == "/up" else echo(request, connection)


def asked(target: FakeUpstream) -> int:
    return sum(request.target == "/up" for request in target.requests)


def test_health_checks(mode: bool) -> None:
    with world({"checked": (2, {"health": CHECKED})}, mode) as made:
        gateway = made.gateway
        one, other = made.targets["checked"]
        one.handler, other.handler = ill, well
        made.wait_standing("checked", "unhealthy", "up")
        assert {gateway.request("GET", "/checked/").json()["headers"][0][0] for _ in range(5)} == {"Host"}
        assert {request.target for request in one.requests} == {"/up"}
        (check,) = [request for request in one.requests if request.target == "/up"][:1]
        assert check.header("Host") == f"127.0.0.1:{one.port}"

        other.handler = ill
        made.wait_standing("checked", "unhealthy", "unhealthy")
        answer = gateway.request("GET", "/checked/")
        assert (answer.status, answer.json()["code"], answer.header("Retry-After")) == (
            503,
            "upstream_unavailable",
            "1",
        )

        one.handler = well
        made.wait_standing("checked", "slow_start", "unhealthy")
        before = len(one.requests) - asked(one)
        assert gateway.request("GET", "/checked/").status == 200
        assert len(one.requests) - asked(one) == before + 1

        other.stop()  # a target that can't be reached is not healthy either
        time.sleep(0.2)
        assert made.standing("checked")[1] == "unhealthy"

        count = asked(one)
        gateway.rewrite(str(gateway.config_path.read_text()) + "\nlog: {level: debug}\n")
        gateway.reload()
        assert made.standing("checked") == ["slow_start", "unhealthy"], "an unchanged upstream's health is kept"
        wait_for(lambda: asked(one) > count + 2)

        gateway.rewrite({})
        gateway.reload()
        time.sleep(0.3)
        count = asked(one)
        time.sleep(0.4)
        assert asked(one) == count, "checks go on for an upstream that is no more"


def test_a_good_check_closes_the_breaker(mode: bool) -> None:
    spec = {"health": CHECKED, "retries": {"attempts": 0}, "breaker": {**EAGER, "open_for": "1h"}}
    with world({"checked": (1, spec)}, mode) as made:
        (target,) = made.targets["checked"]
        target.handler = lambda request, connection: response(500) if request.target == "/up" else connection.reset()
        with made.gateway.connect() as sock:
            for _ in range(5):
                sock.sendall(request_bytes("GET", "/checked/", "a", {"Connection": "keep-alive"}))
                Reader(sock).answer()
        assert made.gateway.request("GET", "/checked/").json()["code"] == "upstream_unavailable"
        target.handler = well
        wait_for(lambda: made.gateway.request("GET", "/checked/").status == 200)
