"""What workers of their own have counted comes together in the database, and in the metrics of whoever reads it."""

from __future__ import annotations

import re

from tests.unit.jobs.kit import Bench

from portico.jobs.sums import Sums
from portico.telemetry.counts import Counts
from portico.telemetry.metrics import Totals

DONE = ("http.call", "succeeded")


def shown(totals: Totals) -> int:
    text = totals.render(version="1", python="3", compiled=False, reloads_ok=0, reloads_failed=0)
    found = re.search(r'^portico_worker_job_attempts_total{kind="http.call",outcome="succeeded"} (\S+)$', text, re.M)
    return int(float(found[1])) if found else 0


def test_workers_add_what_is_new_and_all_read_the_sum(bench: Bench) -> None:
    first, second = Counts(apart=True), Counts(apart=True)
    mine, others = Sums(bench.db), Sums(bench.db)
    first.add("job_attempts", DONE, 3)
    second.add("job_attempts", DONE)
    second.add("outbound_calls", ("schedule", "2xx"), 2)

    async def work() -> dict[tuple[str, ...], int]:
        await mine.tell(first)
        await others.tell(second)
        await mine.tell(first)
        first.add("job_attempts", DONE)
        await mine.tell(first)
        return await Sums(bench.db).all()

    expected = {("job_attempts", *DONE): 5, ("outbound_calls", "schedule", "2xx"): 2}
    assert bench.store.run(work()) == expected


def test_several_readers_show_the_sum_once_and_it_stays_when_one_is_gone() -> None:
    totals = Totals()
    for pid, count in ((1, 7), (2, 5)):
        counts = Counts()
        counts.elsewhere({("job_attempts", *DONE): count})
        totals.update(pid, counts.report())
    assert shown(totals) == 7
    totals.retire(1)
    assert shown(totals) == 7, "it never falls"
