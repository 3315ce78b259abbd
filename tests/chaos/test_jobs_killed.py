"""Workers that are killed or paused in the middle of their jobs: another takes over, nothing is lost or done twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.jobs import PATIENCE, enqueue, holder, once_each, states, until
from tests.unit.jobs.kit import Bench
from tests.unit.storage.kit import Store

from portico.jobs import JobRecord

ROOT = Path(__file__).resolve().parents[2]
LEASE = 3.0  # seconds
START = 3.0  # seconds that a process takes until it looks, on a busy machine


@contextlib.contextmanager
def worker(store: Store, concurrency: int = 200) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs jobs, ready; killed at the end."""
    told = {"url": store.url, "data_dir": str(store.data_dir), "lease": LEASE, "concurrency": concurrency}
    command = [sys.executable, "-m", "tests.chaos.jobs_process", json.dumps(told)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the worker did not start"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def bench(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    url = "sqlite:///portico.db" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with Store(url, tmp_path) as store:
        yield Bench(store)


BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
SQLITE_AND_LONG = pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])


@BOTH
@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_kill_of_the_process_that_holds_the_lease(bench: Bench, count: int) -> None:
    enqueue(bench, count, "test.effect", seconds=0.5)
    with worker(bench.store, count) as first:
        pid = until(lambda: holder(bench.store, count // 2))
        assert pid == first.pid
        until(lambda: states(bench.store).get("succeeded", 0) > count // 20)
        os.kill(pid, signal.SIGKILL)
        first.wait(PATIENCE)
        left = count - states(bench.store).get("succeeded", 0)
        assert left > count // 20, "it was killed in the middle"
        with worker(bench.store, count):
            began = time.monotonic()
            until(lambda: holder(bench.store) not in (0, pid))
            assert time.monotonic() - began < LEASE + START
            until(lambda: states(bench.store) == {"succeeded": count})
    once_each(bench.store, count)
    lost = bench.store.execute("SELECT count(*) FROM job_attempts WHERE outcome = 'lost'")
    assert lost[0][0] == left


@SQLITE_AND_LONG
def test_a_paused_worker_cannot_overwrite(bench: Bench) -> None:
    (id_,) = enqueue(bench, 1, "test.slow", seconds=2)

    def job() -> JobRecord:
        return bench.store.run(bench.get(id_))

    with worker(bench.store) as first:
        assert until(lambda: holder(bench.store)) == first.pid
        os.kill(first.pid, signal.SIGSTOP)
        try:
            with worker(bench.store) as second:
                done = until(lambda: (found := job()).state == "succeeded" and found)
                assert int(done.worker.split("/")[1]) == second.pid
                assert (done.attempt, done.result) == (2, {"token": 2})
                os.kill(first.pid, signal.SIGCONT)
                (other,) = enqueue(bench, 1, "test.slow", seconds=0)
                until(lambda: bench.store.run(bench.get(other)).state == "succeeded")
                time_for_the_paused_one = time.monotonic() + LEASE
                until(lambda: time.monotonic() > time_for_the_paused_one)
                assert job() == done
        finally:
            os.kill(first.pid, signal.SIGCONT)


@SQLITE_AND_LONG
def test_schedules_run_each_time_once_though_processes_are_killed(bench: Bench) -> None:
    from portico.jobs.schedules import Schedules, Wanted

    schedules = Schedules(bench.db, bench.jobs)
    wanted = Wanted(name="tick", kind="test.slow", payload={"seconds": 0}, every=1.0)
    made = bench.store.run(schedules.create(wanted, tenant="default", owner=""))

    def runs() -> list[JobRecord]:
        return bench.store.run(bench.jobs.list(schedule=made.id, limit=100))[0]

    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(worker(bench.store)) for _ in range(2)]
        until(lambda: len(runs()) >= 2)
        processes[0].kill()
        seen = len(runs())
        until(lambda: len(runs()) >= seen + 2)
    keys = [each.key for each in runs()]
    assert len(keys) == len(set(keys))
    times = sorted(each.key.rpartition("schedule:")[2].split(":", 1)[1] for each in runs())
    assert len(times) == len(set(times))
