"""All engines as one judge, over real sockets: reviews, queues that are full, and the end."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.e2e.engine import HARMLESS, Engine, telling

from portico import contracts
from portico.services.detection.embedded import Embedded
from portico.services.detection.engines import Engines
from portico.services.detection.judging import Judged, Question
from portico.telemetry.counts import Counts
from portico.testing.upstream import Connection, Request

QUESTION = Question(HARMLESS, 0.6, "a", "key:1", "r-1")


def ran(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test as a plain function."""

    @functools.wraps(test)
    def plain(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return plain


@pytest.fixture
def release() -> threading.Event:
    return threading.Event()


@pytest.fixture
def slow(release: threading.Event) -> Iterator[Engine]:
    def answer(_request: Request, _connection: Connection) -> bytes:
        release.wait(20)
        return telling()

    with Engine(answer) as engine:
        yield engine
        release.set()


@asynccontextmanager
async def engines(url: str, counts: Counts | None = None, policy: str = "flag", **more: Any) -> AsyncIterator[Engines]:
    spec = contracts.Engine("main", f"{url}/v1/detect", **more)
    made = Engines(contracts.Detection((spec,), policy), contracts.Outbound(), counts or Counts(), Embedded())
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


class Queue:
    """Keeps what it is given; or fails, or takes for ever."""

    def __init__(self, fail: Callable[[], Any] | None = None) -> None:
        self.kept: list[tuple[Question, Judged, str]] = []
        self.fail = fail

    async def put(self, question: Question, judged: Judged, why: str) -> None:
        if self.fail is not None:
            await self.fail()
        self.kept.append((question, judged, why))


async def _refuse() -> None:
    raise RuntimeError("full")


async def _for_ever() -> None:
    await asyncio.Event().wait()


def counted(counts: Counts) -> dict[tuple[str, ...], int]:
    return {tuple(key): count for *key, count in counts.report()["services"]}


@ran
async def test_a_flagged_text_goes_to_review(slow: Engine) -> None:
    queue = Queue()
    async with engines(slow.url, timeout=0.1) as judge:
        judge.reviews = queue
        judged = await judge.judge(QUESTION)
    assert queue.kept == [(QUESTION, judged, "engine_timeout")]
    assert (judged.is_malicious, judged.confidence, judged.unjudged) == (False, 0.5, True)


@pytest.mark.parametrize("policy", ["allow", "block", "embedded"])
@ran
async def test_other_policies_leave_nothing_for_review(slow: Engine, policy: str) -> None:
    queue = Queue()
    async with engines(slow.url, policy=policy, timeout=0.1) as judge:
        judge.reviews = queue
        assert (await judge.judge(QUESTION)).degraded
    assert queue.kept == []


@pytest.mark.parametrize("fail", [_refuse, _for_ever])
@ran
async def test_a_review_that_can_not_be_kept_costs_no_answer(slow: Engine, fail: Callable[[], Any]) -> None:
    counts = Counts()
    async with engines(slow.url, counts, timeout=0.1) as judge:
        judge.reviews = Queue(fail)
        assert (await asyncio.wait_for(judge.judge(QUESTION), 20)).confidence == 0.5
    assert counted(counts)[("detection_reviews_lost",)] == 1


@ran
async def test_what_does_not_fit_into_the_queue_is_judged_by_the_embedded_detector(
    slow: Engine, release: threading.Event
) -> None:
    """One text at a time and four that wait: all others don't wait, and don't count against the engine."""
    counts = Counts()
    async with engines(slow.url, counts, timeout=20.0, concurrency=1) as judge:
        asked = [asyncio.create_task(judge.judge(QUESTION)) for _ in range(25)]
        done, waiting = set[asyncio.Task[Judged]](), set(asked)
        while len(done) < 20:
            some, waiting = await asyncio.wait(waiting, timeout=20.0, return_when=asyncio.FIRST_COMPLETED)
            done |= some
        assert {task.result().engine for task in done} == {"embedded"}
        assert (len(done), len(waiting)) == (20, 5)
        assert judge.health()["engine.main"].ok
        release.set()
        assert {each.engine for each in await asyncio.gather(*waiting)} == {"main"}
    assert counted(counts)[("detection_engine_calls", "main", "busy")] == 20


@ran
async def test_a_call_in_flight_ends_before_the_connections_do(slow: Engine, release: threading.Event) -> None:
    async with engines(slow.url, timeout=20.0) as judge:
        asked = asyncio.create_task(judge.judge(QUESTION))
        await asyncio.to_thread(slow.wait_for, lambda: len(slow.requests) == 1, 20)
        stopping = asyncio.create_task(judge.stop())
        await asyncio.sleep(0)
        release.set()
        assert (await asked).engine == "main"
        await stopping
    await asyncio.to_thread(slow.wait_for, lambda: slow.open_connections == 0, 20)
    late = await judge.judge(QUESTION)
    assert (late.engine, late.degraded) == ("embedded", True)


@ran
async def test_engines_that_have_stopped_probe_nobody(slow: Engine, release: threading.Event) -> None:
    slow.answer = lambda _request, _connection: telling(500)
    async with engines(slow.url) as judge:
        for _ in range(5):
            await judge.judge(QUESTION)
        assert not judge.health()["engine.main"].ok
        await judge.stop()
        for _ in range(10):
            assert (await judge.judge(QUESTION)).degraded
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    release.set()
