"""Limits that four workers count together: nginx through its shared zone, Portico through Redis, on one core each.

Redis runs on the gateway's core, and its CPU time counts as Portico's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import load
from gateways import Shape, nginx, portico, upstream
from load import Runs, Traffic
from servers import GATEWAY_CORE, Redis, Server, free_port

WORKERS: Final = 4
TRAFFICS: Final = (Traffic("4 workers, one hot key"), Traffic("4 workers, one hot key, differing fields", vary=True))


def measure(folder: Path, rounds: int, seconds: float) -> Runs:
    """One key, so hot that all workers lease for it; beside nginx with as many workers."""
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(upstream(folder))
        redis = stack.enter_context(running(folder))
        peer = stack.enter_context(nginx(folder, target.port, Shape(workers=WORKERS)))
        ours = portico(folder, target.port, Shape(workers=WORKERS, redis=redis.port))
        ours.beside = redis
        stack.enter_context(ours)
        return load.measure([(traffic, [peer, ours]) for traffic in TRAFFICS], rounds, seconds)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A Redis with nothing on disk."""
    with Redis(folder, free_port(), GATEWAY_CORE) as server:
        yield server
