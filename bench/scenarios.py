"""What `bench/run.py` can measure: each scenario starts the servers that it needs and gives its runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import detect
import detect_async
import jobs
import keys
import latency
import load
import memory
import revocation
import shared
import startup
import usage
import webhooks
from gateways import MAKERS, SIZES, Shape, available, portico, upstream
from load import CONNECTIONS, Traffic
from servers import Server

SAME: Final = Traffic("same fields")
DIFFERING: Final = Traffic("differing fields", vary=True)
ROUTES: Final = (1, 1000, 10_000)
ASKED: Final = (  # traffic, routes that there are, routes that are asked in turn (0: the first one only)
    ("1 route", 1, 0),
    ("1,000 routes, all asked", 1000, 1000),
    ("10,000 routes, all asked", 10_000, 10_000),
    ("10,000 routes, one asked", 10_000, 0),
)
BARE: Final = ("nginx", "haproxy", "caddy", "envoy", "portico compiled")
FULL: Final = ("nginx", "haproxy", "envoy", "portico compiled", "portico interpreted")
SOME: Final = ("nginx", "haproxy", "envoy", "portico compiled")
ROUTED: Final = ("nginx", "portico compiled")


@dataclass(frozen=True)
class Setting:
    """A folder for this scenario alone, how many rounds, and how long each run is. `names`: which gateways."""

    folder: Path
    rounds: int
    seconds: float
    names: str = ""

    def start(self, stack: contextlib.ExitStack, names: Sequence[str], target: Server, shape: Shape) -> list[Server]:
        """Those of the gateways that are installed and asked for, running."""
        chosen = [name for name in available(tuple(names)) if self.names in name]
        return [stack.enter_context(MAKERS[name](self.folder, target.port, shape)) for name in chosen]


Results = dict[str, Any]  # "runs": traffic → server → runs; and what else there is to tell


@dataclass(frozen=True)
class Scenario:
    """`kind` chooses the table; `rounds` and `seconds` are those of `make bench`, `quick` those of `--quick`,
    None: it takes no part."""

    name: str
    kind: str
    title: str
    rounds: int
    seconds: float
    quick: tuple[int, float] | None
    run: Callable[[Setting], Results]


def bare(setting: Setting) -> Results:
    """Forwarding and nothing else, as far as a gateway can be told so."""
    return _loaded(setting, BARE, Shape(policies=False), [Traffic("bare")])


def policies(setting: Setting) -> Results:
    """Key, limit, log, request id."""
    return _loaded(setting, FULL, Shape(), [SAME, DIFFERING])


def bodies(setting: Setting) -> Results:
    """Larger responses."""
    return _loaded(
        setting, SOME, Shape(), [Traffic(f"{size} body", prefix="/users/size/", last=size) for size in SIZES]
    )


def tls(setting: Setting) -> Results:
    """HTTPS: kept-alive connections, and a full handshake for every request."""
    return _loaded(setting, SOME, Shape(tls=True), [Traffic("kept alive"), Traffic("a handshake each", close=True)])


def _loaded(setting: Setting, names: Sequence[str], shape: Shape, traffics: Sequence[Traffic]) -> Results:
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(upstream(setting.folder))
        servers = setting.start(stack, names, target, shape)
        runs = load.measure([(traffic, servers) for traffic in traffics], setting.rounds, setting.seconds)
    return {"runs": runs, "connections": CONNECTIONS, "log_lines": {server.name: server.logged() for server in servers}}


def routes(setting: Setting) -> Results:
    """One route, 1,000 and 10,000; every request to another one, or all to the first."""
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(upstream(setting.folder))
        servers = {count: setting.start(stack, ROUTED, target, Shape(routes=count)) for count in ROUTES}
        cells = [
            (Traffic(name, vary=True, prefix="/r0/", routes=asked), servers[count]) for name, count, asked in ASKED
        ]
        return {"runs": load.measure(cells, setting.rounds, setting.seconds), "connections": CONNECTIONS}


def latencies(setting: Setting) -> Results:
    """Added latency at a fixed rate."""
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(upstream(setting.folder))
        servers = setting.start(stack, SOME, target, Shape())
        computing = stack.enter_context(portico(setting.folder, target.port, Shape(burn=True, spread=True)))
        runs = latency.measure(target, servers, computing, setting.rounds, setting.seconds)
    return {"runs": runs, "rate": latency.RATE}


def held(setting: Setting) -> Results:
    """1,000 idle connections, WebSockets, streams of events."""
    runs: load.Runs = {}
    with memory.streamer(setting.folder) as target:
        for kind in memory.KINDS:
            some = [
                memory.once(kind, portico, setting.folder, target, setting.seconds, memory.COUNT)
                for _ in range(setting.rounds)
            ]
            runs[kind] = {"portico compiled": some}
            print(f"  {kind:<12} {some[-1]['kb_each']:.1f} KB each, longest {some[-1]['stall_ms']:.1f} ms", flush=True)
    return {"runs": runs, "count": memory.COUNT}


def starts(setting: Setting) -> Results:
    """Start-up time and memory at rest."""
    with upstream(setting.folder) as target:
        some = [startup.once(setting.folder, target) for _ in range(setting.rounds)]
    for run in some:
        print(f"  edge {run['edge_seconds']:.2f} s, all {run['all_seconds']:.2f} s, {run['all_mb']:.0f} MB", flush=True)
    return {"runs": {"start": {"portico compiled": some}}}


def limits(setting: Setting) -> Results:
    """Four workers that count together."""
    runs = shared.measure(setting.folder, setting.rounds, setting.seconds)
    return {"runs": runs, "connections": CONNECTIONS}


def million(setting: Setting) -> Results:
    """One key of a million in the database."""
    return {"runs": keys.measure(setting.folder, setting.rounds, setting.seconds), "connections": CONNECTIONS}


def revoked(setting: Setting) -> Results:
    """How long revoked keys go on working."""
    return {"runs": {"4 workers": {"portico compiled": revocation.measure(setting.folder, setting.rounds)}}}


def counted(setting: Setting) -> Results:
    """Usage counted, and not."""
    return {"runs": usage.measure(setting.folder, setting.rounds, setting.seconds), "connections": CONNECTIONS}


def background(setting: Setting) -> Results:
    """Small jobs a second, and claims by the backlog."""
    return {"runs": jobs.measure(setting.rounds), "count": jobs.COUNT}


def delivered(setting: Setting) -> Results:
    """Webhooks a second."""
    return {"runs": {"deliveries": webhooks.measure(setting.rounds)}, "count": webhooks.ENDPOINTS * webhooks.EVENTS}


def judged(setting: Setting) -> Results:
    """Texts judged."""
    runs = detect.measure(setting.folder, setting.rounds, setting.seconds)
    return {"runs": runs, "connections": CONNECTIONS}


def detected(setting: Setting) -> Results:
    """Detection in batches and in the background."""
    return {"runs": {"detection": detect_async.measure(setting.rounds)}}


SCENARIOS: Final = (
    Scenario("policies", "load", "Key, limit, log", 7, 3, (1, 1), policies),
    Scenario("bare", "load", "Bare forwarding", 7, 2, (1, 1), bare),
    Scenario("bodies", "load", "Larger bodies, with key, limit, log", 7, 1, None, bodies),
    Scenario("routes", "load", "Number of routes, with key, limit, log", 7, 1, None, routes),
    Scenario("tls", "load", "HTTPS, with key, limit, log", 7, 1, None, tls),
    Scenario("limits", "load", "One hot key on four workers", 7, 2, (1, 1), limits),
    Scenario("keys", "load", "One key of a million in the database", 7, 2, (1, 1), million),
    Scenario("usage", "load", "Usage of 1,000 routes", 7, 3, (1, 1), counted),
    Scenario("revocation", "revocation", "Delay of a revocation", 3, 0, (1, 0), revoked),
    Scenario("latency", "latency", "Latency at a fixed rate, with key, limit, log", 7, 2, (1, 1), latencies),
    Scenario("streams", "memory", "1,000 connections held", 1, 4, (1, 1), held),
    Scenario("start", "start", "Start-up and memory at rest", 5, 0, (1, 0), starts),
    Scenario("jobs", "jobs", "Background jobs", 3, 0, None, background),
    Scenario("webhooks", "webhooks", "Webhooks", 3, 0, None, delivered),
    Scenario("detect", "detect", "Detection", 5, 3, None, judged),
    Scenario("detect_async", "detect_async", "Detection in batches and in the background", 3, 0, None, detected),
)
