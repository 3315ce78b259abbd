"""kill -9 of whoever writes or takes in the spool: at most a second is lost, and nothing is counted twice."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.load import Load
from tests.integration.counted import Counted, spool_of
from tests.integration.storage_processes import ROOT
from tests.unit.storage.kit import Store

from portico.storage.usage.intake import LABEL
from portico.telemetry.spool import SegmentWriter, SpoolKey
from portico.testing import FakeUpstream, GatewayHarness, wait_for

START = 1_700_000_040


def config(upstream: FakeUpstream, **server: Any) -> dict[str, Any]:
    return {
        "server": server,
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users"}],
    }


def pid_of(gateway: GatewayHarness, role: str) -> int:
    return next(int(each["pid"]) for each in gateway.status()["processes"] if each["role"] == role and each["pid"])


def test_a_killed_edge_loses_at_most_its_last_second_and_counts_nothing_twice() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        with Load(gateway, kept=2, fresh=0, pause=0.01) as load:
            time.sleep(2.3)  # the load is the subject: some seconds of it, and a kill in the middle of one
            killed = time.monotonic()
            os.kill(pid_of(gateway, "edge"), signal.SIGKILL)
        before = [each for each in load.outcomes if each.status == 200]
        safe = sum(1 for each in before if each.ended < killed - 1.0)
        assert safe > 20
        gateway.wait_ready()
        for _ in range(5):
            assert gateway.request("GET", "/users/1").status == 200
        found = Counted(gateway.data_dir)
        assert gateway.stop() == 0
        assert safe + 5 <= found.requests() <= len(load.outcomes) + 5
        assert spool_of(gateway.data_dir) == []


def written(store: Store, minutes: int, writers: int) -> int:
    """As edge workers would write in so many minutes in which nobody takes in: a record a second each."""
    key = SpoolKey(store.vault.key(LABEL))
    for _ in range(writers):
        writer = SegmentWriter(store.data_dir / "spool", key, longest=50_000)
        for second in range(60 * minutes):
            minute = (START + second) // 60 * 60
            buckets = [1, 1, *[0] * 12]
            row = [minute, f"key-{second % 3}", "", "key", "acme", "users", "GET", 200, 2, 3, 5, buckets, 0.002]
            writer.append("usage", float(START + second), [row])
        writer.close()
    return writers * 60 * minutes * 2


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_ten_minutes_are_taken_in_exactly_once_however_often_who_does_it_is_killed(
    database_url: str, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(kills)
    with Store(database_url, tmp_path) as store:
        sent = written(store, minutes=10, writers=1)
    found = Counted(tmp_path, database_url)
    before = 0
    for _ in range(kills):
        with begun(tmp_path, database_url) as worker:
            wait_for(lambda: found.requests() > before, 30)  # noqa: B023
            time.sleep(chance.uniform(0, 0.02))  # the moment of the kill is the chance that this test takes
            worker.kill()
        before = min(found.requests(), sent - 1)
    assert 0 < found.requests() <= sent
    with begun(tmp_path, database_url) as worker:
        found.until(sent, patience=60)
        wait_for(lambda: spool_of(tmp_path) == [])
        worker.kill()
    assert found.requests() == sent
    assert found.rows("SELECT sum(bytes_in), sum(bytes_out), sum(micros) FROM usage_hours") == [
        (sent // 2 * 3, sent // 2 * 5, sent // 2 * 2000)
    ]
    assert len(found.rows("SELECT DISTINCT at FROM usage_minutes")) == 11 - (START % 60 == 0)


def begun(data_dir: Path, url: str) -> subprocess.Popen[bytes]:
    """A process that takes in."""
    command = [sys.executable, "-m", "tests.chaos.spool_worker", str(data_dir), url]
    worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"begun\n"
    return worker


def test_another_process_of_the_services_takes_over() -> None:
    with FakeUpstream() as upstream:
        wanted = config(upstream, services={"processes": 2})
        with GatewayHarness(wanted) as gateway:
            lock = gateway.data_dir / "spool" / "intake"
            for _ in range(20):
                assert gateway.request("GET", "/users/1").status == 200
            holder = holder_of(lock)
            os.kill(holder, signal.SIGKILL)
            Counted(gateway.data_dir).until(20)
            assert holder_of(lock) != holder


def holder_of(path: Path) -> int:
    """The process that holds the lock of a file (proc(5), locks)."""
    inode = path.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        _number, kind, _mode, _access, pid, where, *_ = line.replace("-> ", "").split()
        if kind == "FLOCK" and int(where.rpartition(":")[2]) == inode:
            return int(pid)
    raise AssertionError("nobody takes in")


def test_a_full_disk_loses_no_usage() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        found = Counted(gateway.data_dir)
        with Load(gateway, kept=2, fresh=0) as load:
            load.more(50)
            edge = pid_of(gateway, "edge")
            hard = resource.prlimit(edge, resource.RLIMIT_FSIZE)[1]
            room = len(gateway.output()) + 2000  # for its words about it; the segment is soon longer
            resource.prlimit(edge, resource.RLIMIT_FSIZE, (room, hard))
            wait_for(lambda: "usage can't be written now" in gateway.output(), 15)
            load.more(200)
            resource.prlimit(edge, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
            wait_for(lambda: "usage is written again" in gateway.output())
        assert load.failed() == []
        found.until(load.count)
        assert gateway.stop() == 0
        assert found.requests() == load.count
