"""What waits for a connection, and which pool takes what another has failed."""

from __future__ import annotations

import pytest
from tests.unit.edge.forward.kit import exchange, targets, upstream_of

from portico import contracts
from portico.edge.forward.breaker import CLOSED, OPEN
from portico.edge.forward.retry import CONNECT, RESET
from portico.edge.forward.upstream import Upstream

FULL = contracts.Pool(max_connections=0, max_idle=0)  # takes no connection: whatever is given waits
GENEROUS = contracts.Retries(attempts=3, budget=1.0)


def waiting(*ports: int) -> Upstream:
    breaker = contracts.Breaker(min_requests=1, open_for=1000.0)
    return upstream_of(contracts.Upstream("u", targets(*ports), pool=FULL, retries=GENEROUS, breaker=breaker))


def test_a_waiting_exchange_whose_client_leaves_waits_no_longer() -> None:
    upstream = waiting(9000)
    first, second = exchange(), exchange()
    upstream.forward(first)
    upstream.forward(second)
    (pool,) = upstream.pools
    assert pool.outstanding() == 2
    assert first.target_side is pool
    pool.cancel(first)
    assert (pool.outstanding(), first.target_side) == (1, None)
    pool.cancel(second)
    assert pool.report() == {
        "address": "127.0.0.1:9000", "state": "up", "outstanding": 0, "open": 0, "opening": 0, "idle": 0, "waiting": 0,
    }  # fmt: skip


def test_a_waiting_probe_whose_client_leaves_makes_room_for_another() -> None:
    upstream = waiting(9000)
    (pool,) = upstream.pools
    pool.breaker.open_for = 0.0
    pool.failed(exchange())
    assert pool.breaker.state == OPEN
    probe = exchange()
    upstream.forward(probe)
    assert pool.breaker.probe is probe
    assert upstream.pick(exchange()) is None
    pool.cancel(probe)
    assert pool.breaker.probe is None
    assert upstream.pick(exchange()) is pool


def test_another_target_comes_first_then_the_same_once_more() -> None:
    upstream = waiting(9000, 9001)
    one, other = upstream.pools
    request = exchange()
    assert upstream.another(request, one, RESET) is other
    assert upstream.another(request, other, RESET) is other, "all have failed: the last once more"
    assert upstream.another(request, other, CONNECT) is None, "it could not even be reached"
    assert request.tries == 3
    assert upstream.stats.outcomes["retried"] == 2


def test_a_target_that_is_out_is_not_the_other() -> None:
    upstream = waiting(9000, 9001)
    one, other = upstream.pools
    other.failed(exchange())
    assert upstream.another(exchange(), one, CONNECT) is None
    assert upstream.another(exchange(), one, RESET) is one


@pytest.mark.parametrize("name", ["u", contracts.SERVICES])
def test_our_own_services_have_no_breaker(name: str) -> None:
    breaker = contracts.Breaker(min_requests=1)
    upstream = upstream_of(contracts.Upstream(name, targets(9000), breaker=breaker))
    (pool,) = upstream.pools
    pool.failed(exchange())
    assert (pool.breaker.state == CLOSED) == (name == contracts.SERVICES)
    assert upstream.retries.allows(exchange(), 503) == (name != contracts.SERVICES)
