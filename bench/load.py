"""Closed-loop load by wrk: as many requests as one gateway answers, in interleaved rounds."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servers import KEY, LOAD_CORE, Server, tree

HERE: Final = Path(__file__).resolve().parent
CONNECTIONS: Final = 64
WARM: Final = 1  # second of load that are not counted, of each server and traffic
UNITS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
Run = dict[str, float]
Runs = dict[str, dict[str, list[Run]]]  # traffic → server → one run a round


@dataclass(frozen=True)
class Traffic:
    """What is asked: see load.lua for what each means."""

    name: str
    vary: bool = False
    prefix: str = "/users/"
    last: str = "1"
    routes: int = 0
    close: bool = False
    key: str = KEY

    def environment(self) -> dict[str, str]:
        """As load.lua reads it."""
        numbers = {"VARY": int(self.vary), "ROUTES": self.routes, "CLOSE": int(self.close)}
        return {"KEY": self.key, "PREFIX": self.prefix, "LAST": self.last, **{k: str(v) for k, v in numbers.items()}}


def load(server: Server, traffic: Traffic, seconds: float) -> Run:
    """One run of wrk against one server: requests per second, CPU µs a request, share of a core, latency in ms.

    RuntimeError when an answer was not 2xx or a connection failed."""
    scheme = "https" if server.tls else "http"
    command = [
        "taskset",
        "-c",
        LOAD_CORE,
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
    ]
    command += ["-s", str(HERE / "load.lua"), f"{scheme}://127.0.0.1:{server.port}/"]
    before = server.cpu()
    with Instructions(server) as counted:
        output = subprocess.run(
            command, env={**os.environ, **traffic.environment()}, check=True, capture_output=True, text=True
        ).stdout
    return {**parse(output, server.name, server.cpu() - before), **counted.per(output)}


def parse(output: str, name: str, used: float) -> Run:
    """What wrk printed; `used`: CPU seconds of the server in that time."""
    wrong = re.search(r"Non-2xx[^\n]*", output)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    if wrong or (errors and any(int(count) for count in errors.groups())):
        raise RuntimeError(f"{name}: {(wrong or errors).group()}")  # type: ignore[union-attr]
    requests, took = re.search(r"(\d+) requests in ([\d.]+\w+)", output).groups()  # type: ignore[union-attr]
    if not int(requests):
        raise RuntimeError(f"{name}: no request was answered")
    elapsed = milliseconds(took) / 1000
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
    return milliseconds(found.group(1))


def milliseconds(text: str) -> float:
    """wrk's way to write a time, "1.20ms"."""
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


class Instructions:
    """Instructions that a server's processes retire in user mode while this is open, where `perf` can count them."""

    def __init__(self, server: Server) -> None:
        self.counted: int | None = None
        self._pids = tree(server.pid) if countable() else []

    def __enter__(self) -> Instructions:
        if self._pids:
            pids = ",".join(str(pid) for pid in self._pids)
            self._perf = subprocess.Popen(
                ["perf", "stat", "-x,", "-e", "instructions:u", "-p", pids], stderr=subprocess.PIPE, text=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pids:
            self._perf.send_signal(2)  # perf prints what it has counted
            self.counted = instructions(self._perf.communicate()[1])

    def per(self, output: str) -> Run:
        """`instructions` a request of the run that wrk's output tells of; nothing when none were counted."""
        found = re.search(r"(\d+) requests in", output)
        return {"instructions": self.counted / int(found.group(1))} if self.counted and found else {}


def instructions(text: str) -> int | None:
    """The count in the output of `perf stat -x,`; None when it could not count."""
    found = re.search(r"(?m)^(\d+),[^,]*,instructions", text)
    return int(found.group(1)) if found else None


@functools.cache
def countable() -> bool:
    """Whether perf is there and this machine lets it count instructions."""
    if shutil.which("perf") is None:
        return False
    ran = subprocess.run(
        ["perf", "stat", "-x,", "-e", "instructions:u", "true"], capture_output=True, text=True, check=False
    )
    return instructions(ran.stderr) is not None


def measure(cells: list[tuple[Traffic, list[Server]]], rounds: int, seconds: float) -> Runs:
    """Interleaved rounds: in each, every server takes each traffic once, and each round begins with another server.
    wrk counts in whole seconds. A single round is a quick look: nothing is warmed for it."""
    runs: Runs = {traffic.name: {server.name: [] for server in servers} for traffic, servers in cells}
    for traffic, servers in cells:
        for server in servers if rounds > 1 else ():
            load(server, traffic, WARM)  # caches, pools, the processor's clock
    for turn in range(rounds):
        for traffic, servers in cells:
            for place in range(len(servers)):
                server = servers[(turn + place) % len(servers)]
                result = load(server, traffic, seconds)
                runs[traffic.name][server.name].append(result)
                print(
                    f"  {turn + 1}/{rounds}  {traffic.name:<26} {server.name:<20}"
                    f"{result['requests_per_second']:>9,.0f}/s {result['cpu_us_per_request']:8.1f} µs"
                    f"  {result['core']:4.0%} of a core",
                    flush=True,
                )
    return runs
