"""What a plugin is: its info, its life, and the capabilities that it may have.

A `plugin.py` is loaded in every process, so it imports nothing heavy: what needs FastAPI, Pydantic or a driver is
imported inside the method that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from portico.contracts import Mount

if TYPE_CHECKING:
    from fastapi import APIRouter

    from portico.jobs import Handler, Schedule
    from portico.kernel.container import ServiceContainer

Config = TypeVar("Config")


class PluginType(IntEnum):
    """The bands of start-up, in order; stopping is the reverse. (The order of a request is its phases, not these.)"""

    INFRASTRUCTURE = 10
    SECURITY = 20
    MIDDLEWARE = 30
    BUSINESS = 40


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """Who a plugin is and when it starts.

    `requires` are ids that must be there and start before it; `after` are ids that start before it if they are there.
    Both may name plugins of its own band or a lower one only. Ties are broken by `order`, then `id`.
    """

    id: str
    type: PluginType
    requires: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    order: int = 100
    summary: str = ""


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """One policy that a plugin brings.

    `id` is the name under a route's `policies:`; `phase` one of `portico.contracts.PHASES`' values; `factory`
    ("module:function") makes a `Step` from the validated, plain configuration and a `PolicyContext`; `config_model`
    ("module:Class") is the strict Pydantic model of that configuration, loaded by the supervisor only ("" = it takes
    none). Policies of one phase run by `order`, then `id`.
    """

    id: str
    phase: int
    order: int
    factory: str
    config_model: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What a plugin says about something it depends on; its texts are shown to operators, so they carry no secret.

    `detail` is about now. `latency` is how many seconds the dependency took to answer, None: as long as the plugin did.
    `last_error` is what failed last, also when all is well again.
    """

    ok: bool
    detail: str = ""
    latency: float | None = None
    last_error: str = ""


class BasePlugin(Generic[Config]):
    """A plugin's door. `Config` is the type of its plain, validated configuration (a TypedDict does well).

    The constructor does nothing but keep `config`. `stop` is idempotent and also runs after a half-done start.
    """

    info: ClassVar[PluginInfo]
    config_model: ClassVar[str] = ""  # "module:Class" of a strict Pydantic model; "" = takes no configuration

    def __init__(self, config: Config) -> None:
        self.config = config

    async def initialize(self, services: ServiceContainer) -> None:
        """Look up what others provide, and provide what this plugin has; open nothing yet."""

    async def start(self) -> None:
        """Open sockets, start tasks."""

    async def stop(self) -> None:
        """Undo `start` and `initialize`, as far as they came."""


@runtime_checkable
class ProvidesPolicy(Protocol):
    """Brings policies: the plugin starts in the edge."""

    def policies(self) -> list[PolicySpec]:
        """The policies that the plugin brings."""
        ...


@runtime_checkable
class ProvidesRouter(Protocol):
    """Brings paths of our own services: the plugin starts in the services."""

    mounts: tuple[Mount, ...]  # every path of the router, so that the edge knows it without importing the router

    def router(self) -> APIRouter:
        """The FastAPI router, asked for once, after `start`. FastAPI is imported here, not in the module."""
        ...


@runtime_checkable
class ProvidesJobs(Protocol):
    """Brings work that is done in the background: the plugin starts in the services, and in workers.

    It requires the plugin `jobs`. May also have `schedules()`: a sequence of `portico.jobs.Schedule`.
    """

    def jobs(self) -> Sequence[Handler]:
        """What runs its kinds of jobs, asked for once, after `start`."""
        ...


@runtime_checkable
class ProvidesSchedules(Protocol):
    """Brings schedules of its own."""

    def schedules(self) -> Sequence[Schedule]:
        """Its schedules, asked for once, after `start`."""
        ...


@runtime_checkable
class WorksInBackground(Protocol):
    """Has work of its own, between `start` and `stop`: the plugin starts in the services, with a router or without."""

    background: ClassVar[str]  # what it does there, in a few words


@runtime_checkable
class ReportsHealth(Protocol):
    """Has a dependency whose state /api/v1/public/status shows, by the class's `dependency` or else the plugin's id."""

    async def health(self) -> Health:
        """The dependency's state now; answers within a second."""
        ...


@runtime_checkable
class ReportsDependencies(Protocol):
    """Has several dependencies, whose states are shown in the same way."""

    async def dependencies(self) -> Mapping[str, Health]:
        """Name → the dependency's state now; answers within a second."""
        ...


AnyPlugin = BasePlugin[Any]
