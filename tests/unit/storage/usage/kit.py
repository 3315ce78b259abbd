"""Rows of usage as an edge counts them, and the sums that are to come of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from tests.unit.storage.kit import Store

from portico.storage.usage import rollup, verdicts
from portico.storage.usage.verdicts import Counted

START = 1_790_035_200  # the beginning of a day
Row = list[Any]
CALLERS = [("a", "a", "key", "one"), ("b", "b", "key", "two"), ("", "a", "person", "one"), ("", "", "", "")]
STATUSES = (200, 204, 301, 401, 404, 429, 500, 503)
TABLES = ("usage_minutes", "usage_hours", "usage_days", "usage_totals", "usage_ranks", "requests_recent",
          "usage_verdicts", "usage_verdict_totals")  # fmt: skip


def row(minute: int, key: str = "a", **more: Any) -> Row:
    """A row of one answered request; `more` names what is different."""
    has = {
        "kind": "key", "tenant": "one", "route": "r", "method": "GET", "status": 200, "requests": 1,
        "bytes_in": 10, "bytes_out": 20, "buckets": [1] + [0] * 13, "seconds": 0.0005, "principal": key,
    } | more  # fmt: skip
    names = ("principal", "kind", "tenant", "route", "method", "status", "requests", "bytes_in", "bytes_out")
    return [minute, key, *(has[name] for name in names), has["buckets"], has["seconds"]]


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Rows of four callers in two tenants over five days; what they count need not be likely."""
    key, principal, kind, tenant = draw(
        st.sampled_from(
            [("a", "a", "key", "one"), ("b", "b", "key", "two"), ("", "a", "person", "one"), ("", "", "", "")]
        )
    )
    minute = START + draw(st.integers(0, 5 * 1440)) * 60 + draw(st.integers(0, 59))
    status = draw(st.sampled_from(STATUSES))
    counts = [draw(st.integers(0, 10**9)) for _ in range(3)]
    buckets = draw(st.lists(st.integers(0, 1000), min_size=14, max_size=14))
    micros = draw(st.integers(0, 10**9))
    route, method = draw(st.sampled_from([("r", "GET"), ("r", "POST"), ("s", "GET")]))
    return [minute, key, principal, kind, tenant, route, method, status, *counts, buckets, micros / 1_000_000]


def take(store: Store, *batches: list[Row]) -> None:
    """Take each batch in, in a transaction of its own."""

    async def work() -> None:
        for batch in batches:
            async with store.db.write() as session:
                await rollup.take(session, [{"kind": "usage", "rows": batch}])

    store.run(work())


def judge(store: Store, *counted: Counted) -> None:
    """Add what texts were judged to be, in one transaction."""

    async def work() -> None:
        async with store.db.write() as session:
            await verdicts.add(session, counted)

    store.run(work())


def clear(store: Store) -> None:
    """Forget all that was counted."""
    for table in TABLES:
        store.execute(f"DELETE FROM {table}")


def exact(counted: list[Row], start: int = 0, end: int = 1 << 60, **those: Any) -> Counter[str]:
    """Plain sums of the rows whose minute begins in the range, and that have what `those` says."""
    names = ("key", "principal", "kind", "tenant", "route", "method", "status")
    sums: Counter[str] = Counter()
    for each in counted:
        has = dict(zip(names, each[1:8], strict=True))
        if not start <= each[0] - each[0] % 60 < end or any(has[name] != value for name, value in those.items()):
            continue
        requests, bytes_in, bytes_out, buckets, seconds = each[8:]
        sums["requests"] += requests
        sums["client_errors"] += requests if 400 <= has["status"] < 500 else 0
        sums["server_errors"] += requests if has["status"] >= 500 else 0
        sums["bytes_in"] += bytes_in
        sums["bytes_out"] += bytes_out
        sums["micros"] += round(seconds * 1_000_000)
        for index, count in enumerate(buckets):
            sums[f"bucket_{index}"] += count
    return sums
