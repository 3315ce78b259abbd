"""The addresses of names: looked up, spread over, kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.edge.forward.kit import exchange, targets, upstream_of

from portico import contracts
from portico.edge.forward.resolve import Resolver, SystemLookup, is_address, named
from portico.edge.forward.upstream import Upstream


class Names:
    """A resolver whose answers the test sets."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str]] = {}
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        await asyncio.sleep(0)
        found = self.answers.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return found


def run(work: Callable[[Upstream, Names], Awaitable[None]], balance: str = "round_robin") -> None:
    """Run `work` with an upstream of one named target of weight 2 and one address of weight 1."""

    async def inside() -> None:
        both = (*targets(9000, host="app.test", weights=(2,)), *targets(9001))
        await work(upstream_of(contracts.Upstream("u", both, balance), asyncio.get_running_loop()), Names())

    asyncio.run(inside())


def addresses(upstream: Upstream) -> list[tuple[str, float]]:
    return [(pool.address, pool.share) for pool in upstream.pools]


def test_a_name_becomes_all_its_addresses_which_share_its_weight() -> None:
    async def work(upstream: Upstream, names: Names) -> None:
        assert addresses(upstream) == [("", 2.0), ("", 1.0)]
        names.answers["app.test"] = ["10.0.0.2", "10.0.0.1"]
        assert await Resolver(upstream, names).refresh()
        assert addresses(upstream) == [("10.0.0.1", 1.0), ("10.0.0.2", 1.0), ("", 1.0)]
        got = [upstream.pick(exchange()) for _ in range(6)]
        assert {pool.label for pool in got if pool is not None} == {
            b"10.0.0.1:9000",
            b"10.0.0.2:9000",
            b"127.0.0.1:9001",
        }
        assert upstream.pools[0].authority == b"app.test:9000"

    run(work)


def test_addresses_that_stay_keep_their_pool_and_its_standing() -> None:
    async def work(upstream: Upstream, names: Names) -> None:
        resolver = Resolver(upstream, names)
        names.answers["app.test"] = ["10.0.0.1", "10.0.0.2"]
        await resolver.refresh()
        first, second, other = upstream.pools
        first.healthy = False
        names.answers["app.test"] = ["10.0.0.1", "10.0.0.3"]
        await resolver.refresh()
        assert upstream.pools[0] is first
        assert not upstream.pools[0].healthy
        assert upstream.pools[1].address == "10.0.0.3"
        assert upstream.pools[2] is other
        assert second.retired
        assert not first.retired

    run(work)


@pytest.mark.parametrize("answer", [None, []])
def test_a_name_that_stops_resolving_keeps_its_last_addresses(answer: list[str] | None) -> None:
    async def work(upstream: Upstream, names: Names) -> None:
        resolver = Resolver(upstream, names)
        names.answers["app.test"] = ["10.0.0.1"]
        assert await resolver.refresh()
        before = list(upstream.pools)
        if answer is None:
            del names.answers["app.test"]
        else:
            names.answers["app.test"] = answer
        assert not await resolver.refresh()
        assert upstream.pools == before

    run(work)


def test_it_asks_again_at_its_interval_soon_after_a_failure_and_when_hurried() -> None:
    async def work(upstream: Upstream, names: Names) -> None:
        resolver = Resolver(upstream, names, every=0.4, again=0.01)
        resolver.start()
        await asyncio.sleep(0.1)
        assert names.asked > 2, "a failed lookup is not repeated"
        names.answers["app.test"] = ["10.0.0.1"]
        await asyncio.sleep(0.05)
        asked = names.asked
        await asyncio.sleep(0.1)
        assert names.asked == asked, "asked before its time"
        resolver.hurry()
        await asyncio.sleep(0.1)
        assert names.asked == asked + 1
        await asyncio.sleep(0.6)
        assert names.asked >= asked + 2
        resolver.stop()
        asked = names.asked
        await asyncio.sleep(0.5)
        assert names.asked == asked

    run(work)


def test_a_closed_upstream_takes_no_addresses() -> None:
    async def work(upstream: Upstream, names: Names) -> None:
        names.answers["app.test"] = ["10.0.0.1"]
        upstream.close()
        await Resolver(upstream, names).refresh()
        assert [address for address, _ in addresses(upstream)] == ["", ""]

    run(work)


def test_which_targets_are_names() -> None:
    assert [is_address(host) for host in ("127.0.0.1", "::1", "fe80::1", "localhost", "1.2.3", "a.b")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    unix = contracts.Target("unix:/x", "unix", path="/x")
    assert named(contracts.Upstream("u", (*targets(1), unix, *targets(2, host="a.b")))) == list(targets(2, host="a.b"))


def test_the_systems_resolver_gives_every_address_once() -> None:
    async def ask() -> list[str]:
        return await SystemLookup(asyncio.get_running_loop())("localhost", 80)

    found = asyncio.run(ask())
    assert "127.0.0.1" in found
    assert len(found) == len(set(found))
