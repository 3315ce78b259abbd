"""Compiles a snapshot into the plan that the hot modules run on. What did not change keeps its state."""

from __future__ import annotations

import importlib
import ipaddress
from typing import Any, Final

from portico import contracts
from portico.edge.callers import Callers
from portico.edge.context import PolicyContext
from portico.edge.exchange import Step
from portico.edge.forward.health import Checker
from portico.edge.forward.resolve import Lookup, Resolver, SystemLookup, named
from portico.edge.forward.upstream import Upstream
from portico.edge.limits.keeper import Keeper
from portico.edge.local import Ask, Health, Metrics
from portico.edge.plan import CompiledRoute, Plan
from portico.edge.policies import auth
from portico.edge.record import Recorder
from portico.edge.routes import Entry, Table, methods_of
from portico.edge.state import EdgeState
from portico.edge.tls import Contexts

ANSWER: Final = 1000  # the phase after all others, for routes that the edge answers itself
ANY_CREDENTIAL: Final = {"kinds": ["api_key", "jwt", "certificate"]}
# What these do depends on their configuration, the route's methods and whether our services answer it: routes alike
# share one step. Thousands of them then need little more of the processor's cache, and what auth remembers serves all.
ALIKE: Final = frozenset(
    f"portico.edge.policies.{name}:build"
    for name in ("access", "auth", "body", "cors", "headers", "require", "request_id")
)
REQUEST_ID: Final = contracts.Policy("request_id", contracts.IDENTIFY, 0, "portico.edge.policies.request_id:build")


class Builder:
    """Makes plans for one worker, and keeps upstreams and limits across them."""

    def __init__(
        self,
        recorder: Recorder,
        ask: Ask,
        principal_key: bytes,
        callers: Callers | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.recorder = recorder
        self.callers = callers or Callers()
        self.ask = ask
        self.principal_key = principal_key
        self.state: EdgeState | None = None
        self.upstreams: dict[str, tuple[contracts.Upstream, Upstream]] = {}
        self.shared: dict[Any, Any] = {"callers": self.callers}
        if keeper is not None:
            keeper.share(self.shared)
        self.services: contracts.Upstream | None = None
        self.lookup: Lookup | None = None  # how names of targets are looked up; None: as the system does
        self.contexts = Contexts()
        self.alike: dict[tuple[object, ...], Step] = {}  # of the plan that is being made

    def build(self, snapshot: contracts.Snapshot, state: EdgeState) -> Plan:
        """The plan of `snapshot`; raises what a policy's factory raises, and then nothing has changed."""
        self.state = state
        self.alike = {}
        self.contexts.begin()
        servers = {each.name: made for each in snapshot.server.listen if (made := self.contexts.server(each.tls))}
        clients = {each.name: self.contexts.client(each) for each in snapshot.upstreams}
        upstreams = self._upstreams(snapshot)
        routes = [self._route(route, snapshot, upstreams) for route in snapshot.routes]
        specs = list(zip(snapshot.routes, routes, strict=True))
        plan = Plan(snapshot.version, table(specs), self._unmatched(snapshot))
        open_routes = [
            self._opened(spec, snapshot, upstreams) for spec in snapshot.routes if spec.upstream.startswith("@")
        ]
        plan.metrics_table = table([pair for pair in open_routes if pair[0].upstream != contracts.SERVICES])
        limits = snapshot.server.limits
        plan.header_bytes = limits.header_bytes
        plan.body_bytes = limits.body_bytes
        plan.connections = limits.connections
        plan.in_flight = limits.in_flight
        plan.buffered = limits.buffered
        plan.header_timeout = limits.header_timeout
        plan.idle_timeout = limits.idle_timeout
        plan.drain = limits.drain
        plan.proxy_protocol = snapshot.server.proxy_protocol
        plan.tls = servers
        plan.trusted = [ipaddress.ip_network(network) for network in snapshot.server.trusted_proxies]
        self._keep(upstreams)
        self.recorder.keep({"-", *(route.name for route in snapshot.routes)}, set(upstreams))
        self.contexts.commit()
        self.callers.configure(snapshot.identity)
        for name, (_, upstream) in upstreams.items():
            upstream.tls = clients.get(name)  # also of one that is kept: its files may have changed
        return plan

    def renewed(self, upstream: str, snapshot: contracts.Snapshot, state: EdgeState) -> Plan:
        """The plan of `snapshot` with new connections to `upstream`; those in use close when their exchange ends."""
        kept = self.upstreams.pop(upstream, None)
        try:
            plan = self.build(snapshot, state)
        except BaseException:
            if kept is not None:
                self.upstreams[upstream] = kept
            raise
        if kept is not None:
            kept[1].close()
        return plan

    def _upstreams(self, snapshot: contracts.Snapshot) -> dict[str, tuple[contracts.Upstream, Upstream]]:
        """Those of the snapshot; an unchanged one keeps its connections."""
        assert self.state is not None
        specs = list(snapshot.upstreams)
        if self.services is not None:
            specs.append(self.services)
        upstreams: dict[str, tuple[contracts.Upstream, Upstream]] = {}
        for spec in specs:
            kept = self.upstreams.get(spec.name)
            if kept is not None and kept[0] == spec:
                upstreams[spec.name] = kept
            else:
                upstreams[spec.name] = (spec, self._upstream(spec, self.state))
        return upstreams

    def _upstream(self, spec: contracts.Upstream, state: EdgeState) -> Upstream:
        upstream = Upstream(spec, state, self.recorder.upstream(spec.name))
        if spec.health is not None:
            upstream.checker = Checker(upstream, spec.health)
        if named(spec):
            upstream.resolver = Resolver(upstream, self.lookup or SystemLookup(state.loop))
        return upstream

    def _keep(self, upstreams: dict[str, tuple[contracts.Upstream, Upstream]]) -> None:
        for name, (_, upstream) in self.upstreams.items():
            if name not in upstreams or upstreams[name][1] is not upstream:
                upstream.close()
        for name, (_, upstream) in upstreams.items():
            if name not in self.upstreams or self.upstreams[name][1] is not upstream:
                upstream.start()
        self.upstreams = upstreams

    def _route(
        self,
        spec: contracts.Route,
        snapshot: contracts.Snapshot,
        upstreams: dict[str, tuple[contracts.Upstream, Upstream]],
    ) -> CompiledRoute:
        context = PolicyContext(snapshot, spec, self.shared)
        policies = sorted(spec.policies, key=lambda policy: (policy.phase, policy.order, policy.id))
        steps = [self._step(policy, context) for policy in policies]
        local = self._local(spec, snapshot)
        if local is not None:
            steps.append(local)
        found = upstreams.get(spec.upstream)
        route = CompiledRoute(spec.name, steps, found[1] if found else None, self.recorder.route(spec.name))
        timeouts = spec.timeouts or (found[0].timeouts if found else contracts.Timeouts())
        if found is not None and timeouts.connect != found[0].timeouts.connect:
            route.connect = timeouts.connect
            found[1].connect_timeout = max(found[1].connect_timeout, timeouts.connect)
        route.first_byte = timeouts.first_byte
        route.idle = timeouts.idle
        route.total = timeouts.total
        route.body_limit = snapshot.server.limits.body_bytes if spec.body_bytes is None else spec.body_bytes
        route.strip_prefix = spec.strip_prefix.encode()
        route.rewrite = spec.rewrite.encode() if spec.rewrite else b""
        route.preserve_host = spec.preserve_host
        route.forward_credentials = spec.forward_credentials
        route.websocket = spec.websocket
        route.buffer = spec.buffer
        route.always = spec.upstream == contracts.HEALTH
        route.redact = redacted(spec)
        route.paths = spec.paths
        return route

    def _step(self, policy: contracts.Policy, context: PolicyContext) -> Step:
        """One policy's step: that of an earlier route with the like policy, or a new one."""
        if policy.factory not in ALIKE:
            return make(policy, context)
        ours = context.route.upstream.startswith("@")
        key = (policy.factory, repr(sorted(policy.config.items())), context.route.methods, ours)
        step = self.alike.get(key)
        if step is None:
            step = self.alike[key] = make(policy, context)
        return step

    def _local(self, spec: contracts.Route, snapshot: contracts.Snapshot) -> Step | None:
        """The last step of a route that the edge answers itself."""
        assert self.state is not None
        if spec.upstream == contracts.HEALTH:
            who = auth.policy(ANY_CREDENTIAL, PolicyContext(snapshot, spec, self.shared))
            return Step("health", ANSWER, Health(self.state, self.ask, who, snapshot.demo).answer)
        if spec.upstream == contracts.METRICS:
            return Step("metrics", ANSWER, Metrics(self.ask).answer)
        return None

    def _opened(
        self,
        spec: contracts.Route,
        snapshot: contracts.Snapshot,
        upstreams: dict[str, tuple[contracts.Upstream, Upstream]],
    ) -> tuple[contracts.Route, CompiledRoute]:
        """A route as the metrics listener serves it: whoever reaches that listener may read."""
        context = PolicyContext(snapshot, spec, self.shared)
        route = self._route(spec, snapshot, upstreams)
        local = self._local(spec, snapshot)
        route.steps = [make(REQUEST_ID, context)] + ([local] if local is not None else [])
        return spec, route

    def _unmatched(self, snapshot: contracts.Snapshot) -> CompiledRoute:
        spec = contracts.Route("", (), "")
        return CompiledRoute(
            "-", [make(REQUEST_ID, PolicyContext(snapshot, spec, self.shared))], None, self.recorder.route("-")
        )


def make(policy: contracts.Policy, context: PolicyContext) -> Step:
    """One policy's step, by its factory."""
    module, _, name = policy.factory.partition(":")
    step = getattr(importlib.import_module(module), name)(policy.config, context)
    assert isinstance(step, Step)
    return step


def table(routes: list[tuple[contracts.Route, CompiledRoute]]) -> Table:
    """The route table, in file order."""
    entries = [
        Entry(spec.hosts, spec.paths, methods_of(spec), index, route) for index, (spec, route) in enumerate(routes)
    ]
    return Table(entries)


def redacted(spec: contracts.Route) -> list[int]:
    """Which path segments hold parameters that no log shows."""
    names = {"{" + name + "}" for name in spec.redact}
    return sorted({index for path in spec.paths for index, part in enumerate(path.split("/")[1:]) if part in names})
