"""Portico's own routes: what the plugins mount on the services, and what the edge answers itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from portico import contracts
from portico.config.grammar import shape
from portico.config.policies import auth, body, key_limits, request_id, require
from portico.config.routes import Layer, Route, in_order
from portico.config.settings import Settings
from portico.errors import PluginError

HEALTH_PATHS: Final = (
    ("portico.health", ("/health", "/api/health", "/api/v1/health")),
    ("portico.health.live", ("/health/live", "/api/v1/health/live")),
    ("portico.health.ready", ("/health/ready", "/api/v1/health/ready")),
)
METRICS_PERMISSION: Final = "metrics:read"


def mounted(settings: Settings, mounts: Sequence[tuple[str, contracts.Mount]]) -> Iterator[contracts.Route]:
    """The services' routes: each mount's canonical path, then its aliases. They share name, policies and limits."""
    names: set[str] = set()
    for plugin, mount in mounts:
        layer = getattr(settings.layers, mount.layer, None)
        if not isinstance(layer, Layer):
            raise PluginError(f"plugin {plugin} mounts {mount.path} in {mount.layer!r}, which is not a layer")
        name = _name(plugin, mount.path)
        if name in names:  # the same path with another method, or one that reads alike
            name = f"{name}.{mount.method.lower()}"
        while name in names:
            name += "-"
        names.add(name)
        yield from _mount(settings, layer, plugin, name, mount)


def edge(settings: Settings, *, demo: bool) -> Iterator[contracts.Route]:
    """What the edge answers itself; /metrics wants metrics:read of its caller unless this is a demonstration."""
    steps = [request_id.policy(), body.policy(settings.server.limits.body_bytes)]
    for name, paths in HEALTH_PATHS:
        yield contracts.Route(
            name, paths, contracts.HEALTH, methods=("GET",), layer="public", source="edge", policies=in_order(steps)
        )
    guarded = steps if demo else [*steps, *auth.policies(auth.KINDS), require.policy([METRICS_PERMISSION])]
    yield contracts.Route(
        "portico.metrics",
        ("/metrics",),
        contracts.METRICS,
        methods=("GET",),
        layer="admin",
        source="edge",
        policies=in_order(guarded),
    )


def renamed(route: contracts.Route, taken: set[str]) -> contracts.Route:
    """The route under a name that no route of the file has."""
    return replace(route, name=f"@{route.name}") if route.name in taken else route


def yielding(route: contracts.Route, others: Sequence[Route], warnings: list[str]) -> contracts.Route | None:
    """Our route without the paths that routes of the file take from it; None when none is left."""
    paths = tuple(path for path in route.paths if not _taken(route, path, others, warnings))
    if not paths:
        return None
    return replace(route, paths=paths) if paths != route.paths else route


def _taken(ours: contracts.Route, path: str, others: Sequence[Route], warnings: list[str]) -> bool:
    """Whether one of the file's routes answers all that ours would; a warning for any that answers some of it."""
    taken = False
    for index, other in enumerate(others):
        if not any(shape(theirs) == shape(path) for theirs in other.paths):
            continue
        if ours.methods and other.methods and not set(ours.methods) & set(other.methods):
            continue
        whole = not other.hosts and (not other.methods or (ours.methods and set(ours.methods) <= set(other.methods)))
        taken = taken or bool(whole)
        part = "" if whole else f" for {', '.join([*other.hosts, *other.methods])}"
        warnings.append(f"routes[{index}] ({other.name}) takes {path}{part} from Portico's own {ours.name}")
    return taken


def _mount(
    settings: Settings, layer: Layer, plugin: str, name: str, mount: contracts.Mount
) -> Iterator[contracts.Route]:
    canonical = contracts.Route(
        name,
        (mount.path,),
        contracts.SERVICES,
        methods=(mount.method.upper(),) if mount.method not in ("", "*") else (),
        layer=mount.layer,
        source=plugin,
        policies=_steps(settings, layer, plugin, mount),
        body_bytes=_bound(layer, mount),
        redact=mount.redact,
    )
    yield canonical
    for alias in mount.aliases:
        yield replace(canonical, paths=(alias,), rewrite=mount.path)


def _steps(settings: Settings, layer: Layer, plugin: str, mount: contracts.Mount) -> tuple[contracts.Policy, ...]:
    """The layer's policies, with the credentials and the permission that the mount itself demands.

    Where the layer has `auth`, that says which credentials are taken, in the place of what each mount says.
    """
    bound = _bound(layer, mount)
    steps = [*layer.policies(settings.server.limits.body_bytes if bound is None else bound, [])]
    if mount.credentials and not set(mount.credentials) & set(auth.KINDS):
        kinds = ", ".join(mount.credentials)
        raise PluginError(f"plugin {plugin} mounts {mount.path} for {kinds} only, and none of these is available")
    if (mount.credentials or mount.permission) and not layer.auth:
        steps += auth.policies(mount.credentials or auth.KINDS)
    if mount.costs > 1:
        costed = key_limits.policy(mount.costs)
        steps = [costed if step.id == costed.id else step for step in steps]
    if mount.permission:
        steps = [step for step in steps if step.id != "require"]
        steps.append(require.policy([*layer.require, mount.permission]))
    return in_order(steps)


def _bound(layer: Layer, mount: contracts.Mount) -> int | None:
    """The smaller of the layer's bound and the mount's; None when neither has one."""
    bounds = [bound for bound in (layer.body_bytes, mount.body_bytes) if bound is not None]
    return min(bounds, default=None)


def _name(plugin: str, path: str) -> str:
    """`/api/v1/public/status` of the plugin `public` is `public.status`; whatever is no word character becomes `-`."""
    segments = [re.sub(r"[^A-Za-z0-9_-]+", "-", segment).strip("-") for segment in path.split("/")]
    words = [word for word in segments if word]
    for prefix in (["api", "v1"], [plugin]):
        if words[: len(prefix)] == prefix:
            words = words[len(prefix) :]
    return ".".join([plugin, *words])
