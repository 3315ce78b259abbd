"""How soon a gateway answers after its start, and what its processes hold in memory when nothing happens."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

from gateways import Shape, portico
from load import Run
from servers import Server, Watch, pss, tree

READY: Final = "/health/ready"
QUIET: Final = 2.0  # seconds before memory is looked at
ROLES: Final = {b"portico.edge": "edge", b"portico.services": "services"}


def once(folder: Path, upstream: Server) -> Run:
    """One start on both cores: seconds until the first proxied answer and until all is ready, PSS in MB by role."""
    gateway = portico(folder, upstream.port, Shape(spread=True))
    with Watch() as watch:
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            gateway.start()
            stack.push(gateway.__exit__)
            edge = gateway.wait("/users/1", 0.002) - began
            ready = gateway.wait(READY, 0.002) - began
            time.sleep(QUIET)
            memory = {f"{role}_mb": kb / 1024 for role, kb in by_role(gateway).items()}
    return {"edge_seconds": edge, "all_seconds": ready, **memory, "foreign": watch.foreign}


def by_role(gateway: Server) -> dict[str, float]:
    """PSS in KB: edge, services, supervisor, and all."""
    found = {"edge": 0.0, "services": 0.0, "supervisor": 0.0}
    for pid in tree(gateway.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        role = next((role for word, role in ROLES.items() if word in words), "supervisor")
        found[role] += pss(pid)
    return {**found, "all": sum(found.values())}
