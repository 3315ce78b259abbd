"""Who gets how many requests, and who gets which."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.forward.kit import exchange, targets, upstream_of

from portico import contracts
from portico.edge.exchange import Exchange
from portico.edge.forward.balance import cookie, turns
from portico.edge.forward.pool import SLOW_START, Pool
from portico.edge.forward.upstream import Upstream

BALANCES = ["round_robin", "least_requests", "hash:header:X-User"]


def made(balance: str, weights: tuple[int, ...]) -> Upstream:
    ports = tuple(range(9000, 9000 + len(weights)))
    return upstream_of(contracts.Upstream("u", targets(*ports, weights=weights), balance=balance))


def picked(upstream: Upstream, request: Exchange) -> Pool:
    pool = upstream.pick(request)
    assert pool is not None
    return pool


def user(number: int) -> Exchange:
    return exchange(fields=b"\r\nX-User: %d" % number)


def shares(upstream: Upstream, count: int) -> list[float]:
    """Which share of `count` requests each pool gets."""
    counted = Counter(picked(upstream, user(number)).target.port for number in range(count))
    return [counted[pool.target.port] / count for pool in upstream.pools]


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("weights", [(1, 1), (1, 2), (5, 1, 1), (1, 1, 1, 7), (999, 500, 1), (1,)])
def test_weights_are_respected(balance: str, weights: tuple[int, ...]) -> None:
    found = shares(made(balance, weights), 6000)
    for share, weight in zip(found, weights, strict=True):
        assert share == pytest.approx(weight / sum(weights), abs=0.06)


@given(weights=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_turns_are_exact_over_one_period_and_smooth(weights: list[int]) -> None:
    order = turns([float(weight) for weight in weights])
    counted = Counter(order)
    scale = sum(weights) / len(order)
    assert [counted[index] * scale for index in range(len(weights))] == weights
    for length in range(1, len(order) + 1):
        for index, weight in enumerate(weights):
            fair = length * weight / sum(weights)
            assert abs(order[:length].count(index) - fair) < 2.0


@given(weights=st.lists(st.sampled_from([1, 2, 3, 501, 1000]), min_size=2, max_size=5), out=st.data())
@settings(max_examples=30)
def test_without_a_target_the_others_share_by_their_weights(weights: list[int], out: st.DataObject) -> None:
    upstream = made("round_robin", tuple(weights))
    gone = out.draw(st.integers(0, len(weights) - 1))
    upstream.pools[gone].healthy = False
    upstream.changed("is out", upstream.pools[gone])
    left = sum(weights) - weights[gone]
    found = shares(upstream, 1500)
    assert found[gone] == 0
    for index, weight in enumerate(weights):
        if index != gone:
            assert found[index] == pytest.approx(weight / left, abs=0.01)


def test_least_requests_prefers_the_less_busy() -> None:
    upstream = made("least_requests", (1, 1))
    upstream.pools[0].open = 5  # busy connections
    assert shares(upstream, 200) == [0.0, 1.0]
    weighted = made("least_requests", (3, 1))
    weighted.pools[0].open = 5
    weighted.pools[1].open = 2
    assert shares(weighted, 200) == [1.0, 0.0], "5 of weight 3 are less than 2 of weight 1"


def test_least_requests_takes_two_by_chance() -> None:
    upstream = made("least_requests", (1,) * 10)
    upstream.pools[0].open = 1
    found = shares(upstream, 5000)
    assert found[0] == 0.0, "the busiest of all never wins"
    assert all(share == pytest.approx(1 / 9, abs=0.03) for share in found[1:])


@given(count=st.integers(2, 12), gone=st.data())
@settings(max_examples=25, deadline=None)
def test_only_the_keys_of_a_target_that_leaves_move(count: int, gone: st.DataObject) -> None:
    upstream = made("hash:header:x-user", (1,) * count)
    keys = 800
    before = [picked(upstream, user(key)) for key in range(keys)]
    left = upstream.pools[gone.draw(st.integers(0, count - 1))]
    left.healthy = False
    upstream.changed("is out", left)
    after = [picked(upstream, user(key)) for key in range(keys)]
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old is not new]
    assert all(old is left for old, _ in moved)
    assert len(moved) / keys <= 1 / count + 0.08
    if count > 3:
        assert len({new.target.port for _, new in moved}) > 1, "one neighbour got them all"


@given(count=st.integers(2, 10))
@settings(max_examples=10, deadline=None)
def test_a_target_taken_from_the_configuration_moves_no_more(count: int) -> None:
    many, fewer = made("hash:client", (1,) * (count + 1)), made("hash:client", (1,) * count)
    requests = [exchange(client=b"192.0.2.%d" % number) for number in range(800)]
    moved = 0
    for request in requests:
        before, after = picked(many, request).target.port, picked(fewer, request).target.port
        if before != after:
            moved += 1
            assert before == 9000 + count
    assert moved / len(requests) <= 1 / (count + 1) + 0.08


def test_the_same_key_meets_the_same_target_in_every_process() -> None:
    one, other = made("hash:cookie:sid", (1, 2, 3)), made("hash:cookie:sid", (1, 2, 3))
    for number in range(200):
        request = exchange(fields=b"\r\nCookie: a=1; sid=%d; b=2" % number)
        assert picked(one, request).target == picked(other, request).target


def test_requests_without_the_key_go_in_turn() -> None:
    for balance in ("hash:cookie:sid", "hash:header:x-user"):
        upstream = made(balance, (1, 1))
        ports = [picked(upstream, exchange()).target.port for _ in range(4)]
        assert sorted(ports) == [9000, 9000, 9001, 9001]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"sid=1", b"1"),
        (b"a=2; sid=1", b"1"),
        (b'sid="x y"; b=', b'"x y"'),
        (b"xsid=2;sid=a=b", b"a=b"),
        (b"SID=1", b""),
        (b"sid", b""),
        (b"", b""),
    ],
)
def test_cookies(header: bytes, value: bytes) -> None:
    assert cookie(header, b"sid") == value


@pytest.mark.parametrize("balance", ["round_robin", "least_requests"])
def test_a_target_that_came_back_starts_slowly(balance: str) -> None:
    upstream = made(balance, (1, 1))
    pool = upstream.pools[0]
    clock = 5000.0
    pool.recover(clock)
    upstream.changed("takes requests again", pool)
    found: list[float] = []
    for passed in (0.0, SLOW_START / 2):
        counted = Counter(
            upstream.balance.among(exchange(), upstream.pools, clock + passed).target.port for _ in range(4000)
        )
        found.append(counted[9000] / 4000)
    assert found[0] == pytest.approx(0.1 / 1.1, abs=0.03)
    assert found[1] == pytest.approx(0.5 / 1.5, abs=0.03)
    assert pool.share_now(clock + SLOW_START) == 1.0


def test_peeking_takes_no_turn() -> None:
    for balance in ("round_robin", "hash:header:x-user"):
        upstream = made(balance, (1, 2, 1))
        for number in range(20):
            request = user(number)
            assert upstream.peek(request) is upstream.peek(request) is picked(upstream, request)
