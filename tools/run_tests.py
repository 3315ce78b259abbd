"""Runs the tests in passes and says at the end what was skipped, and why.

The edge's hot modules exist twice, interpreted and compiled: everything runs interpreted, then the edge's tests run
again on the compiled modules (PORTICO_COMPILED=1). Tests with processes that load the machine or measure time run two
at a time, others three, long ones alone; up to six of a pass that fail are run once more, alone, and told. A PostgreSQL
of their own is started for them where it is installed, unless PORTICO_TEST_POSTGRES names one. With
PORTICO_REQUIRE_SERVICES=1, as in CI, what could not run is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final
from xml.etree import ElementTree

import private_postgres

ROOT: Final = Path(__file__).resolve().parent.parent
TESTS: Final = ROOT / "tests"
PURE: Final = ("unit", "conformance", "golden")  # no processes, no clocks: safe beside each other
HOT: Final = ("unit/edge", "unit/identity", "conformance")  # run hot modules inside the test process
TIMED: Final = (
    "chaos",
    "e2e/edge/test_balance.py",
    "e2e/edge/test_callers*.py",
    "e2e/edge/test_connections.py",
    "e2e/edge/test_faults.py",
    "e2e/edge/test_fuzz.py",
    "e2e/edge/test_limits_shared.py",
    "e2e/edge/test_observing.py",
    "e2e/edge/test_settlement.py",
    "e2e/edge/test_streams.py",
    "e2e/test_celery.py",
    "e2e/test_tracing.py",
    "e2e/edge/test_*workers.py",
    "e2e/test_jobs.py",
    "e2e/test_webhooks.py",
    "e2e/test_webhooks_postgresql.py",
    "integration/test_change_*.py",
    "integration/test_usage_year.py",
    "integration/test_spool_*.py",
    "integration/test_supervisor_deaths.py",
    "integration/test_supervisor_life.py",
    "integration/test_supervisor_services.py",
)
BESIDE: Final = 3  # files with processes at a time; they wait more than they compute
BESIDE_TIMED: Final = 2
FEW: Final = 6  # failures of a pass which are tried once more, and told
POSTGRES: Final = "PORTICO_TEST_POSTGRES"
SLOWEST: Final = 20  # files that are told of each pass
NO_TESTS: Final = 5  # pytest's exit code when it found none


@dataclass
class Tally:
    """What the passes came to."""

    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)  # failed once and passed alone

    def add(self, name: str, report: Path) -> None:
        """Count one pass from its JUnit report."""
        for case in ElementTree.parse(report).iter("testcase"):
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed += 1
            elif skip is None:
                self.passed += 1
            else:
                where = f"{case.get('classname')}.{case.get('name')}"
                self.skipped.append(f"{where} ({name}): {skip.get('message') or 'no reason given'}")


@dataclass(frozen=True)
class Pass:
    """One run of pytest."""

    name: str
    folders: tuple[str, ...]
    compiled: str  # PORTICO_COMPILED
    processes: int
    marker: str


def passes(long: bool, compiles: bool) -> Iterator[Pass]:
    """The runs of `make test`, or of `make test-long`."""
    marker = "long" if long else "not long"
    timed, others = with_processes()
    yield Pass("interpreted", PURE, "0", 2, marker)
    yield Pass("interpreted, processes", others, "0", 1 if long else BESIDE, marker)
    yield Pass("interpreted, processes, timed", timed, "0", 1 if long else BESIDE_TIMED, marker)
    if compiles:
        yield Pass("compiled", HOT, "1", 2, marker)


def with_processes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The test files that start processes: those of TIMED, and the others; paths below `tests`."""
    files = [path.relative_to(TESTS) for path in sorted(TESTS.rglob("test_*.py")) if path.is_file()]
    files = [path for path in files if path.parts[0] not in PURE]
    timed = [path for path in files if any(path.is_relative_to(each) or path.match(each) for each in TIMED)]
    return tuple(map(str, timed)), tuple(str(path) for path in files if path not in timed)


def run(each: Pass, tally: Tally, extra: list[str]) -> None:
    """Run one pass and count it; a run that ends without a report counts as one failure."""
    folders = [f"tests/{name}" for name in each.folders if (TESTS / name).exists()]
    if not folders:
        return
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-m", each.marker, f"--junitxml={report}", *extra, *folders]
        command += ["-n", str(each.processes), "--dist", "loadfile", "--durations=12"]
        print(f"== {each.name}: {' '.join(folders) if len(folders) < 10 else f'{len(folders)} files'}", flush=True)
        environment = {**os.environ, "PORTICO_COMPILED": each.compiled}
        code = subprocess.run(command, cwd=ROOT, env=environment).returncode
        before = tally.failed
        if report.is_file():
            tally.add(each.name, report)
            print_slowest(report)
        if code not in (0, NO_TESTS) and tally.failed == before:
            tally.failed += 1
        again = tally.failed - before
        if 0 < again <= FEW and report.is_file():
            print(f"== {each.name}: once more, what failed", flush=True)
            command += ["--last-failed", "--last-failed-no-failures", "none", "-n", "0"]
            if subprocess.run(command, cwd=ROOT, env=environment).returncode == 0:
                tally.failed = before
                tally.passed += again
                tally.unsteady.append(f"{again} of {each.name}")


def print_slowest(report: Path) -> None:
    """The files that take most of a pass: where to look when it has become too long."""
    seconds: dict[str, float] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("classname", "")
        seconds[name] = seconds.get(name, 0.0) + float(case.get("time", 0))
    slowest = sorted(seconds, key=lambda name: -seconds[name])[:SLOWEST]
    print("slowest files:", ", ".join(f"{name} {seconds[name]:.0f} s" for name in slowest), flush=True)


def obstacle() -> str:
    """Why nothing can be compiled here, or ""; tools/compile.py knows."""
    spec = importlib.util.spec_from_file_location("portico_compile", ROOT / "tools" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    return str(builder.obstacle())


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # so that the pytest that runs is ended too, not left behind


def main(arguments: list[str]) -> int:
    """Run the command line; what it does not know goes to pytest."""
    parser = argparse.ArgumentParser(description="Run Portico's tests.", epilog="Other options go to pytest.")
    parser.add_argument("--long", action="store_true", help="the tests marked long, and only those")
    options, extra = parser.parse_known_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    reason = obstacle()
    tally = Tally()
    with contextlib.ExitStack() as stack:
        if not os.environ.get(POSTGRES):
            url = stack.enter_context(private_postgres.cluster())
            if url is not None:
                os.environ[POSTGRES] = url
        for each in passes(options.long, not reason):
            run(each, tally, extra)
    if reason:
        tally.skipped.append(f"the edge's tests on compiled modules: {reason}")
    required = os.environ.get("PORTICO_REQUIRE_SERVICES") == "1"
    for line in tally.unsteady:
        print(f"UNSTEADY: {line} failed first and passed when run again; the log above names them")
    for line in tally.skipped:
        print(f"{'MISSING' if required else 'skipped'}: {line}")
    failed = tally.failed + (len(tally.skipped) if required else 0)
    print(f"{tally.passed} passed, {failed} failed, {0 if required else len(tally.skipped)} skipped")
    return 1 if failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
