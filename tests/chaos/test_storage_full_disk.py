"""A disk that takes nothing more: a clear error, nothing half done, and work goes on when there is room again.

The limit on the size of files (RLIMIT_FSIZE) of a process stands for the disk, and, where this may be done, a small
file system that is really full.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.jobs.kit import Bench
from tests.unit.storage.kit import Store

from portico.errors import StorageUnavailable
from portico.jobs import Job
from portico.storage.accounts import KeyRecord, NewKey


@contextmanager
def longest(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    with Store("sqlite:///portico.db", tmp_path) as store:
        issued = [store.run(store.keys.issue(NewKey("before")))[0]]
        grown = (tmp_path / "portico.db-wal").stat().st_size
        for _ in range(3):
            with longest(grown + 1):
                with pytest.raises(StorageUnavailable, match="nothing was written"):
                    _issue_many(store, issued)
                assert store.run(store.keys.get(issued[0].id)) == issued[0], "reading goes on"
            issued.append(store.run(store.keys.issue(NewKey("after")))[0])
        assert _ids(store) == {each.id for each in issued}
        assert store.execute("SELECT count(*) FROM changes") == [(len(issued),)]


def test_a_disk_that_is_full(small_disk: Path) -> None:
    with Store("sqlite:///portico.db", small_disk) as store:
        issued: list[KeyRecord] = []
        ballast = small_disk / "ballast"
        for _ in range(2):
            _fill(ballast)
            with pytest.raises(StorageUnavailable, match="nothing was written"):
                _issue_many(store, issued)
            ballast.unlink()
            issued.append(store.run(store.keys.issue(NewKey("after")))[0])
        assert _ids(store) == {each.id for each in issued}
    with Store("sqlite:///portico.db", small_disk) as store:
        assert _ids(store) == {each.id for each in issued}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB of this test's own; where none may be mounted, what stands for it is tested above."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(where)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here; the limit on the size of files stands for it")
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


def _fill(ballast: Path) -> None:
    """Write until the disk takes nothing more."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _issue_many(store: Store, issued: list[KeyRecord]) -> None:
    for _ in range(500):
        issued.append(store.run(store.keys.issue(NewKey("x" * 200)))[0])


def _ids(store: Store) -> set[str]:
    return {str(row[0]) for row in store.execute("SELECT id FROM api_keys")}


def test_jobs_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """Enqueuing says so and leaves nothing behind; what runs meanwhile is finished when there is room again."""
    with Store("sqlite:///portico.db", tmp_path) as store:
        bench = Bench(store)
        go_on = asyncio.Event()

        async def run(job: Job) -> None:
            await go_on.wait()

        async def work() -> None:
            bench.handle("a.b", run)
            worker = bench.worker()
            worker.start()
            kept = [await bench.add("a.b")]
            await bench.until(kept[0], "running")
            with longest((tmp_path / "portico.db-wal").stat().st_size + 1):
                refused = 0
                for _ in range(200):
                    try:
                        kept.append(await bench.add("a.b", {"text": "x" * 2000}))
                    except StorageUnavailable:
                        refused += 1
                assert refused
                go_on.set()
                await asyncio.sleep(0)
            assert {each.id for each in (await bench.jobs.list(limit=500))[0]} == set(kept)
            for id_ in kept:
                assert (await bench.until(id_, "succeeded")).attempt == 1
            await worker.stop(1)

        store.run(work())
