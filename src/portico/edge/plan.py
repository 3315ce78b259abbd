"""What the edge runs on: an immutable plan compiled from one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.edge.exchange import Step
from portico.edge.record import RouteStats
from portico.edge.routes import Table

if TYPE_CHECKING:
    from portico.edge.forward.upstream import Upstream
    from portico.edge.tls import ServerTls


class CompiledRoute:
    """One route: its steps in phase order and where it leads; without an upstream, its last step answers."""

    def __init__(self, name: str, steps: list[Step], upstream: Upstream | None, stats: RouteStats) -> None:
        self.name = name
        self.steps = steps
        self.settles = any(step.settle is not None for step in steps)
        self.upstream = upstream
        self.stats = stats
        self.log_name = stats.log_name
        self.connect = 0.0  # seconds to wait for a connection, where the route has a time of its own
        self.first_byte = 0.0
        self.idle = 0.0
        self.total = 0.0
        self.body_limit = 0
        self.strip_prefix = b""
        self.rewrite = b""
        self.preserve_host = True
        self.forward_credentials = False
        self.websocket = True
        self.buffer = False  # the whole body is taken before the upstream is asked
        self.always = False  # answered however busy the edge is
        self.redact: list[int] = []  # indexes of path segments that no log shows
        self.paths: tuple[str, ...] = ()  # its patterns


class Plan:
    """A compiled snapshot. Requests in flight keep the plan they began with."""

    def __init__(self, version: int, table: Table, unmatched: CompiledRoute) -> None:
        self.version = version
        self.table = table
        self.metrics_table = table  # what the metrics listener serves
        self.unmatched = unmatched
        self.header_bytes = 0
        self.body_bytes = 0
        self.connections = 0
        self.in_flight = 0
        self.buffered = 0
        self.header_timeout = 0.0
        self.idle_timeout = 0.0
        self.drain = 0.0
        self.trusted: list[object] = []  # ipaddress networks
        self.proxy_protocol = False
        self.tls: dict[str, ServerTls] = {}  # by the listener's name
