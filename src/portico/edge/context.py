"""What a policy's factory is given when a route is compiled."""

from __future__ import annotations

from typing import Any

from portico.contracts import Route, Snapshot


class PolicyContext:
    """The route being compiled, the snapshot it belongs to, and state that outlives reloads.

    `shared` is one dict for the life of the edge process: limiters put their buckets there under a key of their own
    (route name, policy id, the limit's text), so that a reload does not empty them.
    """

    def __init__(self, snapshot: Snapshot, route: Route, shared: dict[Any, Any]) -> None:
        self.snapshot = snapshot
        self.route = route
        self.shared = shared
        self.notes: dict[str, Any] = {}  # for the policies of this route alone
