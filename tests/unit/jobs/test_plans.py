"""What a claim and its kin read: indexes of the rows they concern, however many others there are."""

from __future__ import annotations

import pytest
from sqlalchemy import Select, select, text
from sqlalchemy.dialects import postgresql, sqlite
from tests.unit.jobs.kit import Bench

from portico.jobs.claims import statement, waiting_in
from portico.jobs.jobs import is_in
from portico.storage.database import POSTGRESQL
from portico.storage.ids import now
from portico.storage.tables import JobRow


async def plan(bench: Bench, sql: str) -> str:
    async with bench.db.write() as session:
        if bench.db.dialect == POSTGRESQL:
            for never in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):  # few rows, so it would
                await session.execute(text(f"SET LOCAL {never} = off"))
            found = await session.execute(text(f"EXPLAIN {sql}"))
            return "\n".join(str(row[0]) for row in found)
        found = await session.execute(text(f"EXPLAIN QUERY PLAN {sql}"))
        return "\n".join(str(row[3]) for row in found)


def literal(bench: Bench, wanted: object) -> str:
    dialect = postgresql.dialect() if bench.db.dialect == POSTGRESQL else sqlite.dialect()  # type: ignore[no-untyped-call]
    return str(wanted.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]


def test_a_claim_reads_the_index_of_queued_jobs_in_its_order(bench: Bench) -> None:
    async def work() -> None:
        for number in range(50):
            await bench.add("a.b", {"n": number})
        claim = statement("default", 10, "me", now())
        moment = "0" if bench.db.dialect != POSTGRESQL else "now()"
        sql = str(
            claim.values(started_at=text(moment)).compile(
                dialect=bench.db._writer.dialect if bench.db._writer else None,
                compile_kwargs={"literal_binds": True},
            )
        )
        found = await plan(bench, sql)
        assert "ix_jobs_queued" in found
        assert "Sort" not in found
        assert "TEMP B-TREE FOR ORDER BY" not in found

    bench.store.run(work())


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (waiting_in({"default", "detection", "webhooks"}), "ix_jobs_queued"),
        (select(JobRow.id).where(is_in("waiting")).order_by(JobRow.run_at).limit(10), "ix_jobs_waiting"),
        (select(JobRow.worker).where(is_in("running"), JobRow.worker != "me").distinct(), "ix_jobs_running"),
        (select(JobRow.id).where(is_in("failed")).order_by(JobRow.id.desc()).limit(10), "ix_jobs_failed"),
        (select(JobRow.id).where(JobRow.ended_at < text("0")).order_by(JobRow.ended_at).limit(9), "ix_jobs_ended"),
        (select(JobRow.id).where(JobRow.tenant_id == "a").order_by(JobRow.id.desc()).limit(10), "ix_jobs_tenant"),
    ],
)
def test_what_is_asked_all_the_time_has_its_index(bench: Bench, wanted: Select[str], index: str) -> None:
    async def work() -> None:
        await bench.add("a.b")
        sql = literal(bench, wanted)
        if bench.db.dialect == POSTGRESQL:
            sql = sql.replace("< 0", "< now()")
        assert index in await plan(bench, sql)

    bench.store.run(work())
