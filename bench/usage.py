"""What counting usage costs: the same traffic over many routes, counted and spooled each second, and not counted."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import load
from gateways import Shape, portico, upstream
from load import Runs, Traffic
from servers import Server, pss

ROUTES: Final = 1000  # rows that each minute has


def measure(folder: Path, rounds: int, seconds: float) -> Runs:
    """Rounds of both gateways; the memory of each edge process after them."""
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(upstream(folder))
        cells: list[tuple[Traffic, list[Server]]] = []
        for name, usage in (("usage counted", True), ("not counted", False)):
            server = stack.enter_context(portico(folder, target.port, Shape(routes=ROUTES, usage=usage)))
            server.wait("/health/ready")  # until the services are, the spool has no key and nothing is written
            cells.append((Traffic(name, vary=True, prefix="/r0/", routes=ROUTES), [server]))
        runs = load.measure(cells, rounds, seconds)
        for traffic, (server,) in cells:
            memory = pss(server.edge()) / 1024
            for run in runs[traffic.name][server.name]:
                run["edge_mb"] = memory
        return runs
