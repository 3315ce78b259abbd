"""Latency at a fixed open-loop rate, less that of asking the upstream directly; also while the services compute."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from load import Run, Runs
from servers import KEY, LOAD_CORE, Server, Watch, tree

HERE: Final = Path(__file__).resolve().parent
RATE: Final = 1000
NICE: Final = -10  # of generator and upstream: what computes beside them must not make them late
DIRECT: Final = "direct"
COMPUTING: Final = "while the services compute"


def command(port: int, seconds: float, rate: float = RATE, burn: int = 0, connections: int = 64) -> list[str]:
    """The generator as a command on the load's core, before others there where that is allowed."""
    words = [
        "nice",
        "-n",
        str(NICE),
        "taskset",
        "-c",
        LOAD_CORE,
        sys.executable,
        str(HERE / "openloop.py"),
        "--key",
        KEY,
    ]
    words += ["--port", str(port), "--seconds", str(seconds), "--rate", str(rate), "--burn", str(burn)]
    return [*words, "--connections", str(connections)]


def once(server: Server, seconds: float, burn: int = 0) -> Run:
    """One run of the generator: percentiles in ms, its own lateness, what others used of the machine, in cores."""
    with Watch() as watch:
        ran = subprocess.run(command(server.port, seconds, burn=burn), check=True, capture_output=True, text=True)
    result: Run = json.loads(ran.stdout)
    return {**result, "foreign": watch.foreign}


def _prefer(server: Server) -> None:
    """Let the server run before others on its core, if this user may."""
    for pid in tree(server.pid):
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, pid, NICE)


def measure(upstream: Server, servers: list[Server], computing: Server, rounds: int, seconds: float) -> Runs:
    """Rounds of: direct and each server; then direct and Portico on both cores, while `computing` serves
    /api/v1/burn ten times a second."""
    _prefer(upstream)
    usual = f"{RATE:,}/s"
    runs: Runs = {usual: {}, f"{usual}, {COMPUTING}": {}}
    for turn in range(rounds):
        order = [upstream, *servers]
        for traffic, some, burn in (
            (usual, order[turn % len(order) :] + order[: turn % len(order)], 0),
            (f"{usual}, {COMPUTING}", [upstream, computing], computing.port),
        ):
            for server in some:
                result = once(server, seconds, burn)
                name = DIRECT if server is upstream else server.name
                runs[traffic].setdefault(name, []).append(result)
                print(
                    f"  {turn + 1}/{rounds}  {traffic:<36} {name:<20} p50 {result['p50_ms']:.2f}  p99"
                    f" {result['p99_ms']:.2f}  p99.9 {result['p999_ms']:.2f} ms",
                    flush=True,
                )
    return runs
