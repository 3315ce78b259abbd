"""Background jobs: how many small ones are enqueued and finished in a second, and what a claim costs by the backlog."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from sqlalchemy import text

from load import Run
from portico import contracts
from portico.jobs import Handler, Handlers, Job, Jobs, New, claims
from portico.jobs.crew import Crew
from portico.jobs.wake import Wake
from portico.storage.database import POSTGRESQL, SQLITE, Database
from portico.storage.vault import Vault
from servers import Watch

COUNT: Final = 10_000
BATCH: Final = 100  # jobs in one transaction of whoever enqueues
WORKERS: Final = {SQLITE: 1, POSTGRESQL: 2}
BACKLOGS: Final = (0, 100_000, 1_000_000)
CLAIM: Final = 100  # jobs at once
CLAIMS: Final = 20
KIND: Final = "bench.nothing"
PATIENCE: Final = 300.0  # seconds for all jobs of a round
_ID: Final = {
    SQLITE: "printf('01890000-0000-7000-8000-%012x', n)",
    POSTGRESQL: "'01890000-0000-7000-8000-' || lpad(to_hex(n), 12, '0')",
}
_NUMBERS: Final = {
    SQLITE: "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :count) SELECT n FROM s)",
    POSTGRESQL: "generate_series(1, :count) AS s(n)",
}
_NOW: Final = {SQLITE: "0", POSTGRESQL: "now()"}
_FALSE: Final = {SQLITE: "0", POSTGRESQL: "false"}


@contextlib.contextmanager
def database(kind: str) -> Iterator[tuple[str, Path]]:
    """The URL and the data directory of a database with Portico's tables."""

    with tempfile.TemporaryDirectory(prefix="portico-bench-jobs-") as scratch, contextlib.ExitStack() as stack:
        folder, url = Path(scratch), "sqlite:///portico.db"
        if kind == POSTGRESQL:
            import private_postgres  # of tools/, which worker processes don't have

            found = stack.enter_context(private_postgres.cluster())
            if found is None:
                raise RuntimeError("PostgreSQL is not installed")
            url = found
            asyncio.run(Database(url, folder, None).upgrade())
        else:
            asyncio.run(_made(url, folder))
        yield url, folder


async def _made(url: str, folder: Path) -> None:
    db = await opened(url, folder)
    await db.close()


async def opened(url: str, folder: Path) -> Database:
    """The database, open."""
    db = Database(url, folder, Vault.open(folder, None).key("database"))
    await db.open()
    return db


def throughput(kind: str) -> Run:
    """Jobs a second, from the first that is enqueued to the last that is finished, with workers in other processes."""
    with database(kind) as (url, folder), contextlib.ExitStack() as stack:
        for _ in range(WORKERS[kind]):
            stack.enter_context(_worker(url, folder))
        with Watch() as watch:
            seconds = asyncio.run(_through(url, folder))
        return {"jobs_per_second": COUNT / seconds, "foreign": watch.foreign}


@contextlib.contextmanager
def _worker(url: str, folder: Path) -> Iterator[None]:
    command = [sys.executable, str(Path(__file__)), json.dumps([url, str(folder)])]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError("the worker did not start")
        yield
    finally:
        process.kill()
        process.communicate()


async def _through(url: str, folder: Path) -> float:
    db = await opened(url, folder)
    jobs = Jobs(db, Handlers(), Wake(db))
    began = time.perf_counter()
    for _ in range(COUNT // BATCH):
        async with db.write() as session:
            await jobs.enqueue_many(session, [New(KIND, {"n": n}) for n in range(BATCH)])
    while any((await jobs.depth())[0].values()):
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError("the jobs were not done in time")
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - began
    await db.close()
    return seconds


def claiming(kind: str, rounds: int) -> dict[str, list[Run]]:
    """Milliseconds of a claim of 100 jobs, by how many are queued."""
    found: dict[str, list[Run]] = {}
    with database(kind) as (url, folder):
        for backlog in BACKLOGS:
            some = asyncio.run(_claiming(url, folder, kind, backlog, rounds))
            found[f"{kind}, {backlog:,} queued"] = [{"claim_ms": each} for each in some]
    return found


async def _claiming(url: str, folder: Path, kind: str, backlog: int, rounds: int) -> list[float]:
    db = await opened(url, folder)
    await fill(db, kind, max(backlog, CLAIM))
    found = []
    for _ in range(rounds):
        times = []
        for _ in range(CLAIMS):
            async with db.write() as session:
                began = time.perf_counter()
                assert len(await claims.take(session, "bench", "default", CLAIM)) == CLAIM
                times.append((time.perf_counter() - began) * 1000)
                await session.rollback()
        found.append(median(times))
    await db.close()
    return found


async def fill(db: Database, kind: str, count: int) -> None:
    """Have exactly so many jobs queued."""
    columns = "id, kind, queue, tenant_id, owner, state, rank, payload, attempt, fence, cancelling, error, created_at"
    values = (
        f"{_ID[kind]}, '{KIND}', 'default', 'default', '', 'queued', 0, '{{}}', 0, 0, {_FALSE[kind]}, '', {_NOW[kind]}"
    )
    async with db.write() as session:
        await session.execute(text("DELETE FROM jobs"))
        await session.execute(
            text(f"INSERT INTO jobs ({columns}) SELECT {values} FROM {_NUMBERS[kind]}"), {"count": count}
        )
    if kind == POSTGRESQL:
        async with db.write() as session:
            await session.execute(text("ANALYZE jobs"))


async def work(url: str, folder: Path) -> None:
    """What a worker process does."""
    db = await opened(url, folder)
    handlers, wake = Handlers(), Wake(db)

    async def nothing(job: Job) -> None:
        pass

    handlers.add([Handler(KIND, nothing)], "bench")
    wake.start()
    Crew(db, Jobs(db, handlers, wake), handlers, wake, contracts.Jobs()).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def measure(rounds: int) -> dict[str, dict[str, list[Run]]]:
    """All of it: rates and claims by name."""
    rates: dict[str, list[Run]] = {}
    held: dict[str, list[Run]] = {}
    for kind, workers in WORKERS.items():
        name = f"{kind}, {workers} worker{'s' if workers > 1 else ''}"
        rates[name] = [throughput(kind) for _ in range(rounds)]
        print(f"  {name:<24} {rates[name][-1]['jobs_per_second']:,.0f} jobs/s", flush=True)
        held.update(claiming(kind, rounds))
        print(f"  {kind:<24} claims: {[round(some[-1]['claim_ms'], 1) for some in held.values()]} ms", flush=True)
    return {"rate": rates, "claim": held}


if __name__ == "__main__":
    told: list[Any] = json.loads(sys.argv[1])
    import uvloop

    uvloop.run(work(told[0], Path(told[1])))
