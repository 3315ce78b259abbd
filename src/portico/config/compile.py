"""Settings + what the plugins mount → the plain snapshot that the edge and the services run on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from portico import contracts
from portico.config import ours
from portico.config.crosscheck import warnings
from portico.config.explain import sentence
from portico.config.routes import Route
from portico.config.scalars import nearest
from portico.config.settings import Settings
from portico.errors import ConfigError, Problem

BUILT_IN: Final = "portico.edge.policies."  # these have keys of their own in a route, so `policies` does not take them


@dataclass(frozen=True, slots=True)
class PolicyKind:
    """A plugin's policy as routes may use it: where it runs, what makes its behaviour, and what checks its config.

    `validate` returns the plain (JSON) configuration, or raises ValueError (Pydantic's ValidationError is one).
    """

    phase: int
    order: int
    factory: str
    validate: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A snapshot, and what its maker should be told: one sentence each."""

    snapshot: contracts.Snapshot
    warnings: tuple[str, ...] = ()


def compile_snapshot(
    settings: Settings,
    *,
    version: int,
    mounts: Sequence[tuple[str, contracts.Mount]] = (),
    plugins: tuple[contracts.PluginSpec, ...] = (),
    plugin_policies: Mapping[str, PolicyKind] | None = None,
    demo: bool = False,
) -> Compiled:
    """The snapshot of these settings. ConfigError when a route uses a plugin's policy wrongly.

    `mounts` are the services' own paths with the ids of their plugins. Routes come in the file's order, then mounts in
    theirs, then the edge's own. A route of the file that equals a path of ours takes it, and a warning says so.
    """
    upstreams = {name: upstream.plain(name, settings.folder) for name, upstream in settings.upstreams.items()}
    found = warnings(settings)
    kinds = {id_: kind for id_, kind in (plugin_policies or {}).items() if not kind.factory.startswith(BUILT_IN)}
    routes = _routes(settings, upstreams, kinds)
    taken = {route.name for route in routes}
    for route in (*ours.mounted(settings, mounts), *ours.edge(settings, demo=demo)):
        kept = ours.yielding(ours.renamed(route, taken), settings.routes, found)
        if kept is not None:
            routes.append(kept)
    snapshot = contracts.Snapshot(
        version=version,
        source=settings.source,
        server=settings.server.plain(settings.folder),
        upstreams=tuple(upstreams.values()),
        keys=tuple(key.plain() for key in settings.keys),
        routes=tuple(routes),
        plugins=plugins,
        identity=settings.plain_identity,
        storage=settings.storage.plain(),
        backups=settings.backups.plain(settings.folder),
        usage=settings.usage.plain(),
        audit=settings.audit.plain(),
        state=settings.state.plain(),
        tracing=None if settings.tracing is None else settings.tracing.plain(),
        outbound=settings.outbound.plain(),
        jobs=settings.jobs.plain(),
        detection=settings.detection.plain(),
        data_dir=settings.data_dir,
        log_level=settings.log.level,
        log_format=settings.log.format,
        demo=demo,
    )
    return Compiled(snapshot, tuple(found))


def _routes(
    settings: Settings, upstreams: Mapping[str, contracts.Upstream], kinds: Mapping[str, PolicyKind]
) -> list[contracts.Route]:
    problems: list[Problem] = []
    routes: list[contracts.Route] = []
    for index, route in enumerate(settings.routes):
        extra: list[contracts.Policy] = [] if route.guard is None else [route.guard.policy()]
        for id_, config in route.plugin_policies.items():
            policy, wrong = _policy(settings, index, id_, config, kinds)
            problems += wrong
            extra += [policy] if policy is not None else []
        routes.append(_route(settings, route, upstreams[route.upstream], extra))
    if problems:
        raise ConfigError(problems)
    return routes


def _route(
    settings: Settings, route: Route, upstream: contracts.Upstream, extra: list[contracts.Policy]
) -> contracts.Route:
    bound = settings.server.limits.body_bytes if route.body_bytes is None else route.body_bytes
    return contracts.Route(
        name=route.name,
        paths=tuple(route.paths),
        upstream=route.upstream,
        hosts=tuple(route.hosts),
        methods=tuple(route.methods),
        strip_prefix=route.strip_prefix,
        policies=route.policies(bound, extra),
        body_bytes=route.body_bytes,
        buffer=route.buffer,
        timeouts=route.timeouts.over(upstream.timeouts),
        websocket=route.websocket and route.guard is None,  # a guard can't see into them
        preserve_host=route.preserve_host,
        forward_credentials=route.forward_credentials,
    )


def _policy(
    settings: Settings, index: int, id_: str, config: dict[str, Any], kinds: Mapping[str, PolicyKind]
) -> tuple[contracts.Policy | None, list[Problem]]:
    """The policy of a plugin on one route, or what is wrong with it."""
    path = ("routes", index, "policies", id_)
    kind = kinds.get(id_)
    if kind is None:
        known = f"; there are: {', '.join(sorted(kinds))}" if kinds else "; no plugin that is on has one"
        message = f"is not the id of a plugin with a policy for routes{nearest(id_, kinds) or known}"
        return None, [settings.problem(path, message)]
    try:
        plain = kind.validate(config)
    except ValueError as error:
        return None, refused(settings, path, error)
    return contracts.Policy(id_, kind.phase, kind.order, kind.factory, plain), []


def refused(settings: Settings, path: tuple[str | int, ...], error: ValueError) -> list[Problem]:
    """A plugin's refusal of its configuration at `path`, as problems with lines; a model's errors one by one."""
    if not isinstance(error, ValidationError):
        return [settings.problem(path, str(error))]
    found = error.errors(include_url=False, include_input=False)
    return [settings.problem((*path, *each["loc"]), sentence(each)) for each in found]
