"""What the tests of killed workers have in common: jobs enqueued, looked at and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from tests.unit.jobs.kit import Bench

from portico.jobs import New

PATIENCE = 60.0


class Asks(Protocol):
    """A database that statements can be sent to."""

    def execute(self, statement: str, **values: Any) -> list[Any]: ...


def until(what: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What it answers, once that is true."""
    deadline = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {patience} s"
        time.sleep(0.05)
    return found


def enqueue(bench: Bench, count: int, kind: str, delay: float = 0.0, **payload: Any) -> list[str]:
    """So many jobs, in one transaction; their ids."""

    async def work() -> list[str]:
        async with bench.db.write() as session:
            return await bench.jobs.enqueue_many(session, [New(kind, payload, delay=delay) for _ in range(count)])

    return bench.store.run(work())


def states(db: Asks, which: str = "kind <> 'test.made'") -> dict[str, int]:
    """State → how many jobs of those that `which` (SQL) picks are in it."""
    found = db.execute(f"SELECT state, count(*) FROM jobs WHERE {which} GROUP BY state")
    return {str(state): int(count) for state, count in found}


def holder(db: Asks, least: int = 1) -> int:
    """The pid of the process that holds most of the running jobs, 0 while that is fewer than `least`."""
    sql = "SELECT worker, count(*) FROM jobs WHERE state = 'running' GROUP BY worker ORDER BY 2 DESC"
    found = db.execute(sql)
    return int(found[0][0].split("/")[1]) if found and found[0][1] >= least else 0


def once_each(db: Asks, count: int) -> None:
    """Each of so many jobs `test.effect` has had its effect, and none twice."""
    effects = db.execute("SELECT owner, count(*) FROM jobs WHERE kind = 'test.made' GROUP BY owner")
    assert len(effects) == count, "none is lost"
    assert {times for _, times in effects} == {1}, "none is done twice"
