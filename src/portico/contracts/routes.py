"""Routes and what they run: policies, static keys; the paths of our own services."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from portico.contracts.upstreams import Timeouts

COST: Final = "X-Portico-Cost"  # of an answer of the services: how many requests this one was
SERVICES: Final = "@services"  # the upstream name of our own services
HEALTH: Final = "@health"  # answered by the edge itself
METRICS: Final = "@metrics"


@dataclass(frozen=True, slots=True)
class Key:
    """A static API key: its SHA-256 in hex, never the key."""

    id: str
    sha256: str
    permissions: tuple[str, ...] = ()
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy on one route: `factory` ("module:function") makes its behaviour from the plain `config`."""

    id: str
    phase: int
    order: int
    factory: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """One route as the edge runs it: `upstream` is a name of the file, or SERVICES, HEALTH, METRICS."""

    name: str
    paths: tuple[str, ...]
    upstream: str
    hosts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    layer: str = "file"  # file | public | app | mcp | admin
    source: str = "file"  # file, or the id of the plugin that mounted it
    rewrite: str | None = None  # the canonical path that an alias stands for
    strip_prefix: str = ""
    policies: tuple[Policy, ...] = ()
    body_bytes: int | None = None
    buffer: bool = False
    timeouts: Timeouts | None = None
    websocket: bool = True
    preserve_host: bool = True
    forward_credentials: bool = False
    redact: tuple[str, ...] = ()  # names of path parameters that no log shows


@dataclass(frozen=True, slots=True)
class Mount:
    """A path of our own services, declared in a `plugin.py` so that the edge knows it without importing the service."""

    method: str
    path: str
    aliases: tuple[str, ...] = ()
    layer: str = "public"
    credentials: tuple[str, ...] = ()  # () = none needed
    permission: str = ""
    body_bytes: int | None = None
    redact: tuple[str, ...] = ()
    costs: int = 1  # requests of a key's own limits that one may count as, at most: the answer says how many in COST
