"""Jobs run by Celery over a real broker: a worker that is killed, a broker that forgets, messages that come twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from tests import rabbit
from tests.chaos.jobs import PATIENCE, enqueue, holder, once_each, states, until
from tests.unit.jobs.kit import Bench
from tests.unit.storage.kit import Store

from portico.jobs import celery_app

ROOT = Path(__file__).resolve().parents[2]
LEASE = 3.0  # seconds
START = 4.0  # seconds that a process takes until it looks, on a busy machine


@pytest.fixture
def bench(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    url = "sqlite:///portico.db" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with Store(url, tmp_path) as store:
        yield Bench(store)


@dataclass(frozen=True)
class Broker:
    """A broker, how many messages wait there, and what makes it forget them."""

    url: str
    waiting: Callable[[], int]
    forget: Callable[[], object]


@pytest.fixture(params=["redis", pytest.param("rabbitmq", marks=pytest.mark.long)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "rabbitmq":
        with rabbit.rabbit() as url:
            yield Broker(url, lambda: rabbit.waiting(url), lambda: rabbit.forget(url))
        return
    url = str(request.getfixturevalue("redis_url"))
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        yield Broker(url, lambda: int(client.llen(celery_app.PREFIX + "default")), client.flushall)  # type: ignore[arg-type]


@contextlib.contextmanager
def half(which: str, store: Store, broker: str, concurrency: int = 100) -> Iterator[subprocess.Popen[bytes]]:
    """A process that sends ids ("services") or a worker of Celery, ready; killed at the end."""
    told = {"url": store.url, "data_dir": str(store.data_dir), "lease": LEASE, "concurrency": concurrency}
    told |= {"broker": broker, "half": which}
    command = [sys.executable, "-m", "tests.chaos.celery_process", json.dumps(told)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the process did not start"
        yield process
    finally:
        process.kill()
        process.communicate()


KINDS = pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])


@KINDS
@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_kill_of_the_worker_of_celery_that_holds_the_lease(bench: Bench, broker: Broker, count: int) -> None:
    enqueue(bench, count, "test.effect", seconds=0.5)
    threads = count // 2
    with half("services", bench.store, broker.url), half("worker", bench.store, broker.url, threads) as first:
        pid = until(lambda: holder(bench.store, threads // 2))
        assert pid == first.pid
        until(lambda: states(bench.store).get("succeeded", 0) > count // 20)
        os.kill(pid, signal.SIGKILL)
        first.wait(PATIENCE)
        assert states(bench.store).get("succeeded", 0) < count, "it was killed in the middle"
        assert states(bench.store).get("running", 0), "with jobs in flight"
        killed = time.monotonic()
        until(lambda: "running" not in states(bench.store))
        assert time.monotonic() - killed < LEASE + START, "the services take its jobs from it"
        with half("worker", bench.store, broker.url, threads):
            until(lambda: states(bench.store) == {"succeeded": count})
    once_each(bench.store, count)


@KINDS
def test_a_broker_that_forgets_and_messages_that_come_twice(bench: Bench, broker: Broker) -> None:
    with half("services", bench.store, broker.url):
        jobs = enqueue(bench, 20, "test.effect")
        late = enqueue(bench, 1, "test.effect", delay=1.0)
        until(lambda: broker.waiting() >= 20 + len(late))
        broker.forget()
        with half("worker", bench.store, broker.url, 4):
            until(lambda: states(bench.store) == {"succeeded": 21})
            broker.forget()  # under a worker that waits
            app = celery_app.make(broker.url)
            target = celery_app.queue("default")
            for job in (*jobs, "no id", "../../etc/passwd"):
                app.send_task(celery_app.TASK, (job,), queue=target)
            (after,) = enqueue(bench, 1, "test.effect")
            until(lambda: states(bench.store) == {"succeeded": 22})
            until(lambda: broker.waiting() == 0)
            assert bench.store.run(bench.get(after)).attempt == 1
    once_each(bench.store, 22)
    fences = bench.store.execute("SELECT DISTINCT fence FROM jobs WHERE kind = 'test.effect'")
    assert [fence for (fence,) in fences] == [1], "each was claimed once"
