"""Slowing down who guesses, without locking out who is guessed at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from portico.contracts import State
from portico.errors import StateUnavailable
from portico.services.attempts import ACCOUNT, ADDRESS, LONGEST, PAIR, SPAN, Attempts
from portico.state.memory import Memory
from portico.state.redis import Redis


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def never() -> bool:
    return False


async def always() -> bool:
    return True


def made() -> tuple[Attempts, Clock, Memory]:
    clock = Clock()
    store = Memory(clock=clock)
    return Attempts(store, Memory(clock=clock), "login"), clock, store


def test_the_first_attempts_are_free_then_each_waits_twice_as_long() -> None:
    async def run() -> None:
        attempts, clock, _ = made()
        for _ in range(PAIR.free + 1):  # the one after the free ones has its turn at once
            assert await attempts.wait("ann", "10.0.0.1", never) == 0
        waits = []
        for _ in range(4):
            waits.append(await attempts.wait("ann", "10.0.0.1", never))
        assert waits == [2, 4, 8, 16]
        clock.now += 1.1  # the turn that was taken had a pause of a second
        assert await attempts.wait("ann", "10.0.0.1", never) == 0
        assert await attempts.wait("ann", "10.0.0.1", never) > 0

    asyncio.run(run())


def test_who_waits_as_long_as_told_gets_a_turn_and_no_wait_is_longer_than_the_longest() -> None:
    async def run() -> None:
        attempts, clock, _ = made()
        for _ in range(200):
            wait = await attempts.wait("ann", "10.0.0.1", never)
            assert wait <= LONGEST
            if wait:
                clock.now += wait + 0.001
                assert await attempts.wait("ann", "10.0.0.1", never) == 0

    asyncio.run(run())


def test_many_at_once_gain_nothing() -> None:
    async def run() -> None:
        attempts, _, _ = made()
        waits = await asyncio.gather(*(attempts.wait("ann", "10.0.0.1", never) for _ in range(500)))
        assert waits.count(0) == PAIR.free + 1

    asyncio.run(run())


def test_a_guesser_at_another_address_does_not_make_the_owner_wait() -> None:
    async def run() -> None:
        attempts, _, _ = made()
        for _ in range(ACCOUNT.free - 1):
            await attempts.wait("ann", "10.6.6.6", never)
        assert await attempts.wait("ann", "10.0.0.1", never) == 0

    asyncio.run(run())


def test_a_crowd_that_guesses_makes_strangers_wait_but_not_a_known_address() -> None:
    async def run() -> None:
        attempts, _, _ = made()
        for index in range(ACCOUNT.free + 5):
            await attempts.wait("ann", f"10.6.0.{index}", never)
        assert await attempts.wait("ann", "10.7.0.1", never) > 0
        assert await attempts.wait("ann", "10.0.0.1", always) == 0
        assert await attempts.wait("bob", "10.7.0.2", never) == 0

    asyncio.run(run())


def test_one_address_that_tries_many_accounts_waits_but_known_accounts_there_do_not() -> None:
    async def run() -> None:
        attempts, _, _ = made()
        for index in range(ADDRESS.free + 5):
            await attempts.wait(f"victim{index}", "10.6.6.6", never)
        assert await attempts.wait("another", "10.6.6.6", never) > 0
        assert await attempts.wait("colleague", "10.6.6.6", always) == 0

    asyncio.run(run())


def test_success_does_not_count() -> None:
    async def run() -> None:
        attempts, _, _ = made()
        for index in range(100):
            assert await attempts.wait(f"user{index}", "10.0.0.1", never) == 0
            await attempts.succeeded(f"user{index}", "10.0.0.1")
        for _ in range(100):
            assert await attempts.wait("ann", "10.0.0.2", never) == 0
            await attempts.succeeded("ann", "10.0.0.2")

    asyncio.run(run())


def test_all_is_forgiven_after_a_while() -> None:
    async def run() -> None:
        attempts, clock, _ = made()
        for _ in range(50):
            await attempts.wait("ann", "10.0.0.1", never)
        clock.now += SPAN + 1
        for _ in range(PAIR.free):
            assert await attempts.wait("ann", "10.0.0.1", never) == 0

    asyncio.run(run())


def test_no_name_is_kept_in_the_store() -> None:
    async def run() -> None:
        attempts, _, store = made()
        await attempts.wait("ann@example.com", "10.0.0.1", never)
        text = repr(list(store.entries._entries))
        assert text.count("login:") == 3
        assert "ann" not in text
        assert "10.0.0.1" not in text

    asyncio.run(run())


def test_without_the_shared_store_this_process_counts_alone() -> None:
    class Away(Memory):
        """A store that is away, as `Store` says that it tells."""

        async def incr(self, key: str, ttl: float, by: int = 1) -> int:
            raise StateUnavailable("away")

        async def delete(self, *keys: str) -> int:
            raise StateUnavailable("away")

    async def run() -> None:
        attempts = Attempts(Away(), Memory(), "login")
        waits = [await attempts.wait("ann", "10.0.0.1", never) for _ in range(20)]
        assert waits.count(0) == PAIR.free + 1
        await attempts.succeeded("ann", "10.0.0.1")
        assert await attempts.wait("ann", "10.0.0.1", never) == 0

    asyncio.run(run())


def test_processes_count_together_in_redis(redis_url: str) -> None:
    async def run() -> None:
        stores = [Redis(State(redis_url, 1.0)) for _ in range(3)]
        for store in stores:
            await store.start()
        try:
            both = [Attempts(store, Memory(), "login") for store in stores]
            asked: list[Awaitable[int]] = [both[index % 3].wait("ann", "10.0.0.1", never) for index in range(60)]
            assert (await asyncio.gather(*asked)).count(0) == PAIR.free + 1
        finally:
            for store in stores:
                await store.stop()

    asyncio.run(run())


@pytest.mark.parametrize("what", ["login", "register"])
def test_what_is_counted_is_counted_apart(what: str) -> None:
    async def run() -> None:
        store = Memory()
        one, other = Attempts(store, Memory(), what), Attempts(store, Memory(), "other")
        for _ in range(20):
            await one.wait("ann", "10.0.0.1", never)
        assert await other.wait("ann", "10.0.0.1", never) == 0

    asyncio.run(run())
