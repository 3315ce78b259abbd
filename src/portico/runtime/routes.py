"""The route table as people read it."""

from __future__ import annotations

from typing import Any

from portico.contracts import Snapshot
from portico.edge.routes import order_key


def listing(snapshot: Snapshot) -> list[dict[str, Any]]:
    """One entry for each host and path of each route, in matching precedence (`portico.edge.routes`)."""
    rows: list[tuple[Any, dict[str, Any]]] = []
    for index, route in enumerate(snapshot.routes):
        for host in route.hosts or ("",):
            for path in route.paths:
                row = {
                    "host": host,
                    "path": path,
                    "methods": list(route.methods),
                    "route": route.name,
                    "upstream": route.upstream,
                    "layer": route.layer,
                    "source": route.source,
                    "rewrite": route.rewrite,
                    "policies": [policy.id for policy in route.policies],
                }
                rows.append((order_key(host, path, index), row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]
