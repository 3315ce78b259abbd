"""Group commit: many waiting items are one transaction, one that can't be written fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from portico.errors import StorageUnavailable
from portico.storage.group import MOST, Group


class Log:
    """Keeps what is written; refuses and fails as it is told. `turn` holds transactions back, `gate` their writing."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.groups: list[list[int]] = []
        self.begun = self.tried = 0
        self.gate, self.turn = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.turn.set()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        self.begun += 1
        await self.turn.wait()
        yield

    async def write(self, session: None, some: Sequence[int]) -> list[int | Exception]:
        self.tried += 1
        await self.gate.wait()
        if self.error is not None and 7 in some:
            raise self.error
        self.groups.append(list(some))
        return [ValueError("refused") if each == 3 else each * 10 for each in some]


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), 20)

    asyncio.run(bounded())


def test_what_comes_during_a_transaction_goes_into_the_next() -> None:
    async def work() -> None:
        log = Log()
        log.gate.clear()
        group = Group(log.begin, log.write)
        first = asyncio.create_task(group.add(0))
        while not log.tried:
            await asyncio.sleep(0)
        others = [asyncio.create_task(group.add(number)) for number in range(10, 20)]
        await asyncio.sleep(0)
        log.gate.set()
        assert await first == 0
        assert await asyncio.gather(*others) == [number * 10 for number in range(10, 20)]
        assert log.groups == [[0], list(range(10, 20))]
        assert await group.add(1) == 10, "and it goes on afterwards"

    run(work)


def test_what_comes_while_a_transaction_is_waited_for_goes_into_it() -> None:
    async def work() -> None:
        log = Log()
        log.turn.clear()
        group = Group(log.begin, log.write)
        first = asyncio.create_task(group.add(0))
        while not log.begun:
            await asyncio.sleep(0)
        second = asyncio.create_task(group.add(10))
        await asyncio.sleep(0)
        log.turn.set()
        assert await asyncio.gather(first, second) == [0, 100]
        assert log.groups == [[0, 10]]

    run(work)


def test_those_who_wait_when_no_transaction_can_begin_fail_and_the_next_do_not() -> None:
    async def work() -> None:
        log = Log()
        broken = True

        @asynccontextmanager
        async def begin() -> AsyncIterator[None]:
            if broken:
                raise StorageUnavailable("away")
            yield

        group = Group(begin, log.write)
        found = await asyncio.gather(*map(group.add, range(10)), return_exceptions=True)
        assert all(isinstance(each, StorageUnavailable) for each in found)
        broken = False
        assert await group.add(1) == 10
        assert log.groups == [[1]]

    run(work)


def test_a_group_is_never_larger_than_it_may() -> None:
    async def work() -> None:
        log = Log()
        group = Group(log.begin, log.write)
        numbers = range(100, 100 + 3 * MOST)
        assert await asyncio.gather(*map(group.add, numbers)) == [number * 10 for number in numbers]
        assert max(map(len, log.groups)) == MOST
        assert [each for some in log.groups for each in some] == list(numbers)

    run(work)


def test_one_that_is_refused_or_can_t_be_written_fails_alone() -> None:
    async def work() -> None:
        log = Log(RuntimeError("a defect"))
        found = await asyncio.gather(*map(Group(log.begin, log.write).add, range(10)), return_exceptions=True)
        assert isinstance(found[3], ValueError)
        assert isinstance(found[7], RuntimeError)
        assert [each for each in found if isinstance(each, int)] == [0, 10, 20, 40, 50, 60, 80, 90]

    run(work)


def test_without_a_database_all_fail_at_once() -> None:
    async def work() -> None:
        log = Log(StorageUnavailable("away"))
        group = Group(log.begin, log.write)
        found = await asyncio.gather(*map(group.add, range(10)), return_exceptions=True)
        assert all(isinstance(each, StorageUnavailable) for each in found)
        assert log.tried == 1
        assert await group.add(1) == 10

    run(work)


def test_whoever_leaves_keeps_nobody_else_waiting() -> None:
    async def work() -> None:
        log = Log()
        log.gate.clear()
        group = Group(log.begin, log.write)
        tasks = [asyncio.create_task(group.add(number)) for number in (1, 2, 4)]
        while not log.tried:
            await asyncio.sleep(0)
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        log.gate.set()
        assert await asyncio.gather(tasks[0], tasks[2]) == [10, 40]
        assert sorted(each for some in log.groups for each in some) == [1, 2, 4]

    run(work)
