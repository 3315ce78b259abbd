"""Upstreams and exchanges of their own, without a worker around them."""

from __future__ import annotations

import asyncio

from portico import contracts
from portico.edge.accesslog import AccessLog
from portico.edge.exchange import Downstream, Exchange
from portico.edge.forward.upstream import Upstream
from portico.edge.http1.fields import FieldReader
from portico.edge.http1.names import Names
from portico.edge.plan import CompiledRoute, Plan
from portico.edge.record import Recorder, RouteStats, UpstreamStats
from portico.edge.routes import Table
from portico.edge.state import EdgeState


def targets(*ports: int, host: str = "127.0.0.1", weights: tuple[int, ...] = ()) -> tuple[contracts.Target, ...]:
    """One for each port."""
    given = weights or (1,) * len(ports)
    return tuple(
        contracts.Target(f"http://{host}:{port}", "http", host, port, weight=weight)
        for port, weight in zip(ports, given, strict=True)
    )


def upstream_of(spec: contracts.Upstream, loop: asyncio.AbstractEventLoop | None = None) -> Upstream:
    """The upstream; a loop is needed only where it dials."""
    route = CompiledRoute("r", [], None, RouteStats("r"))
    plan = Plan(1, Table([]), route)
    state = EdgeState(loop or asyncio.new_event_loop(), plan, Recorder(AccessLog("/dev/null")))
    return Upstream(spec, state, UpstreamStats(spec.name))


def exchange(method: bytes = b"GET", fields: bytes = b"", client: bytes = b"192.0.2.1") -> Exchange:
    """A request without a body."""
    reader = FieldReader(Names(), True)
    reader.take(fields)
    made = Exchange(Downstream(), reader, 1000.0, 0.0)
    made.method = method
    made.client = client
    made.tries = 1
    return made
