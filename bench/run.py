"""Sets Portico, interpreted and compiled, beside nginx with the like policies. bench/method.md tells how and why.

make bench                                  seven rounds of five seconds, written to bench/results/
.venv/bin/python bench/run.py --rounds 1 --seconds 1 --no-write
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from report import summary, table
from servers import KEY, LOAD_CORE, Server, nginx, portico, upstream

HERE: Final = Path(__file__).resolve().parent
TRAFFIC: Final = ("same fields", "differing fields")
CONNECTIONS: Final = 64
NEEDED: Final = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}


def load(server: Server, traffic: str, seconds: float) -> dict[str, float]:
    """One run of wrk against one server: requests per second, CPU µs a request, share of a core, latency in ms."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency"]
    command += ["-s", str(HERE / "load.lua"), f"http://127.0.0.1:{server.port}/users/1"]
    environment = {**os.environ, "KEY": KEY, "VARY": "1" if traffic == TRAFFIC[1] else "0"}
    before = server.cpu()
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    used = server.cpu() - before
    wrong = re.search(r"Non-2xx[^\n]*|Socket errors[^\n]*", output)
    if wrong:
        raise RuntimeError(f"{server.name}: {wrong.group()}")
    requests, took = re.search(r"(\d+) requests in ([\d.]+\w+)", output).groups()  # type: ignore[union-attr]
    elapsed = _milliseconds(took) / 1000
    return {
        "requests_per_second": int(requests) / elapsed,
        "cpu_us_per_request": used / int(requests) * 1e6,
        "core": used / elapsed,
        "p50_ms": _percentile(output, "50%"),
        "p99_ms": _percentile(output, "99%"),
        "requests": float(requests),
    }


def _percentile(output: str, name: str) -> float:
    found = re.search(rf"\s{name}\s+([\d.]+\w+)", output)
    assert found is not None
    return _milliseconds(found.group(1))


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


def measure(servers: list[Server], rounds: int, seconds: float) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Interleaved rounds: traffic → server → one run a round. Each round begins with another server."""
    runs: dict[str, dict[str, list[dict[str, float]]]] = {t: {s.name: [] for s in servers} for t in TRAFFIC}
    for server in servers:
        for traffic in TRAFFIC:
            load(server, traffic, min(seconds, 2))  # warm: caches, pools, the processor's clock
    for turn in range(rounds):
        for traffic in TRAFFIC:
            for place in range(len(servers)):
                server = servers[(turn + place) % len(servers)]
                result = load(server, traffic, seconds)
                runs[traffic][server.name].append(result)
                print(
                    f"round {turn + 1}/{rounds}  {traffic:<17} {server.name:<20}"
                    f"{result['requests_per_second']:>9,.0f}/s {result['cpu_us_per_request']:6.1f} µs"
                    f"  {result['core']:4.0%} of a core",
                    flush=True,
                )
    return runs


def logged(server: Server) -> int:
    """Lines in the server's access log."""
    assert server.log is not None
    files = [server.log] if server.log.is_file() else sorted(server.log.glob("*access*"))
    return sum(file.read_bytes().count(b"\n") for file in files)


def machine() -> dict[str, str]:
    """What the figures depend on, without names of hosts or folders."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo)
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.rpartition("/")[2].strip()
    return {
        "processor": model.group(1) if model else "unknown",
        "cores": str(os.cpu_count()),
        "kernel": f"{os.uname().sysname} {os.uname().release.split('-')[0]}",
        "python": sys.version.split()[0],
        "nginx": version,
        "load": f"{os.getloadavg()[0]:.2f} before the first round",
    }


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Portico beside nginx with the like policies.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--only", default="", help="servers whose name contains this")
    parser.add_argument("--no-write", action="store_true", help="print the table, keep no result")
    options = parser.parse_args(arguments)
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        print(
            f"the benchmark needs Debian's {', '.join(missing)}: apt-get install {' '.join(missing)}", file=sys.stderr
        )
        return 2
    about = machine()
    with tempfile.TemporaryDirectory(prefix="portico-bench-") as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        target = stack.enter_context(upstream(folder))
        peers = [nginx(folder, target), portico(folder, target, True), portico(folder, target, False)]
        servers = [stack.enter_context(server) for server in peers if options.only in server.name]
        runs = measure(servers, options.rounds, options.seconds)
        lines = {server.name: logged(server) for server in servers}
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": about,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": CONNECTIONS,
        "summary": summary(runs),
        "log_lines": lines,
        "runs": runs,
    }
    text = table(result)
    print(text)
    if not options.no_write:
        out = HERE / "results"
        out.mkdir(exist_ok=True)
        (out / "latest.json").write_text(json.dumps(result, indent=1) + "\n")
        (out / "latest.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
