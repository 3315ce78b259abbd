"""What 1,000 connections of one kind cost the gateway in memory, and whether they hold up other requests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateways import Make, Shape
from latency import command
from load import Run
from servers import KEY, LOAD_CORE, Server, Watch, free_port, pss

HERE: Final = Path(__file__).resolve().parent
KINDS: Final = ("idle", "websocket", "sse")
COUNT: Final = 1000
PROBES: Final = 200  # parallel requests a second
SETTLE: Final = 1.0  # seconds


def streamer(folder: Path) -> Server:
    """The upstream of streams."""
    port = free_port()
    return Server("streamer", [sys.executable, str(HERE / "streamer.py"), str(port)], folder, port, core=LOAD_CORE)


def once(kind: str, make: Make, folder: Path, upstream: Server, seconds: float, count: int) -> Run:
    """A fresh gateway with `count` connections of one kind: KB (PSS) for each, the longest that a parallel request
    took in ms, messages a second on all connections together, what others used of the machine, in cores."""
    with make(folder, upstream.port, Shape()) as gateway:
        with holding(kind, gateway, 10):
            pass  # what the first connection of a kind allocates once and for all
        subprocess.run(command(gateway.port, 0.5, PROBES, connections=4), check=True, capture_output=True)
        time.sleep(SETTLE)
        before = pss(gateway.edge())
        with Watch() as watch, probing(gateway, seconds + 2) as probe:
            began = time.monotonic()
            with holding(kind, gateway, count) as holder:
                opened = time.monotonic() - began
                worst: Run = json.loads(probe.communicate()[0])
                took = time.monotonic() - began - opened
                after = pss(gateway.edge())
        if probe.returncode:
            raise RuntimeError(f"{kind}: a parallel request failed")
        if kind != "idle" and not holder[0]:
            raise RuntimeError(f"{kind}: no message came")
        return {
            "kb_each": (after - before) / count,
            "edge_kb": before,
            "stall_ms": worst["most_ms"],
            "p99_ms": worst["p99_ms"],
            "open_seconds": opened,
            "messages_per_second": holder[0] / max(took, 1e-3),
            "foreign": watch.foreign,
        }


@contextlib.contextmanager
def probing(gateway: Server, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Requests at a fixed rate beside whatever else happens."""
    with subprocess.Popen(
        command(gateway.port, seconds, PROBES, connections=4), stdout=subprocess.PIPE, text=True
    ) as probe:
        try:
            yield probe
        finally:
            probe.kill()


@contextlib.contextmanager
def holding(kind: str, gateway: Server, count: int) -> Iterator[list[int]]:
    """While `count` connections are held; the list has, at the end, the number of messages that came."""
    words = ["taskset", "-c", LOAD_CORE, sys.executable, str(HERE / "holder.py"), kind, str(gateway.port), str(count)]
    messages = [0]
    pipe = subprocess.PIPE
    with subprocess.Popen([*words, KEY], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            if holder.stdout.readline().strip() != "held":
                raise RuntimeError(f"{gateway.name}, {kind}: {holder.stderr.read()[-500:]}")
            yield messages
            out, error = holder.communicate()
            if holder.returncode:
                raise RuntimeError(f"{gateway.name}, {kind}: {error[-500:]}")
            messages[0] = int(out)
        finally:
            holder.kill()
