"""Sets Portico beside its peers. bench/method.md tells how and why.

make bench                                    every scenario, written to bench/results/; about twelve minutes
.venv/bin/python bench/run.py --peers         installs Envoy into build/peers first
.venv/bin/python bench/run.py --quick         a minute, nothing written
.venv/bin/python bench/run.py --only latency  one scenario; the page keeps the others' last results
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import peers
from gateways import certificate
from report import page
from scenarios import SCENARIOS, Scenario, Setting

HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = HERE / "results"
PAGE: Final = "latest.md"


def machine() -> dict[str, Any]:
    """What the figures depend on, without names of hosts or folders."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": model.group(1) if model else "unknown",
        "cores": str(os.cpu_count()),
        "kernel": f"{os.uname().sysname} {os.uname().release.split('-')[0]}",
        "python": sys.version.split()[0],
        "versions": peers.versions(),
        "load": f"{os.getloadavg()[0]:.2f} before the first round",
    }


def measured(scenario: Scenario, options: argparse.Namespace) -> dict[str, Any]:
    """Run one scenario: its runs, and what they depend on."""
    rounds, seconds = (options.quick and scenario.quick) or (scenario.rounds, scenario.seconds)
    rounds, seconds = options.rounds or rounds, options.seconds or seconds
    print(f"{scenario.name}: {scenario.title}", flush=True)
    result = {
        "name": scenario.name,
        "kind": scenario.kind,
        "title": scenario.title,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "rounds": rounds,
        "seconds": seconds,
        "skipped": peers.skipped(),
    }
    with tempfile.TemporaryDirectory(prefix="portico-bench-") as scratch:
        folder = Path(scratch)
        certificate(folder)
        return {**result, **scenario.run(Setting(folder, rounds, seconds, options.gateway))}


def kept(folder: Path) -> list[dict[str, Any]]:
    """The results that are in the folder, in the scenarios' order."""
    files = [folder / f"{scenario.name}.json" for scenario in SCENARIOS]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def options_of(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description="Portico beside its peers.")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a minute, the main scenarios; nothing is written")
    parser.add_argument("--peers", action="store_true", help="install Envoy into build/peers first")
    parser.add_argument("--gateway", default="", metavar="NAME", help="gateways whose name contains this")
    parser.add_argument("--rounds", type=int, help="instead of each scenario's own")
    parser.add_argument("--seconds", type=float, help="of each run, instead of each scenario's own")
    parser.add_argument("--no-write", action="store_true", help="print the page, keep no result")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="where results go")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run the command line."""
    options = options_of(arguments)
    if options.peers:
        peers.install()
    lacking = peers.lacking()
    if lacking:
        print(f"the benchmark needs {', '.join(lacking)}: apt-get install {' '.join(lacking)}", file=sys.stderr)
        return 2
    for name, how in peers.skipped().items():
        print(f"{name} is left out, it is not installed: {how}", flush=True)
    sys.path.append(str(HERE.parent / "tools"))  # for what starts a PostgreSQL
    began = time.monotonic()
    results: list[dict[str, Any]] = []
    for scenario in SCENARIOS:
        if scenario.name not in options.only if options.only else options.quick and scenario.quick is None:
            continue
        results.append(measured(scenario, options))
        if not (options.quick or options.no_write):
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{scenario.name}.json").write_text(json.dumps(results[-1], indent=1) + "\n")
            (options.out / PAGE).write_text(page(kept(options.out)))
    print(f"\n{page(results)}\nafter {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
