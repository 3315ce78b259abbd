"""The door of `scheduler`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType, ProvidesJobs, ProvidesSchedules

if TYPE_CHECKING:
    from fastapi import APIRouter

    from portico.jobs import Handler
    from portico.jobs.crew import Crew
    from portico.kernel.container import ServiceContainer
    from portico.services.scheduler.service import Scheduling

BODY: Final = 512 * 1024  # bytes; a payload has at most 256 KiB
WHO: Final = ("api_key", "jwt")
LAST: Final = 10_000  # every plugin has started when this one does, so that the first job finds its handler ready


def _mount(method: str, path: str, permission: str) -> Mount:
    layer = "admin" if path.startswith("admin/") else "app"
    return Mount(method, f"/api/v1/{path}", (), layer, WHO, permission, BODY)


class Scheduler(BasePlugin[dict[str, Any]]):
    """Runs the jobs of all plugins, and shows jobs and schedules."""

    info: ClassVar = PluginInfo(
        "scheduler",
        PluginType.BUSINESS,
        ("jobs", "auth", "outbound"),
        order=LAST,
        summary="runs jobs; jobs and schedules",
    )
    mounts = (
        _mount("GET", "admin/jobs", "jobs:read"),
        _mount("GET", "admin/jobs/{id}", "jobs:read"),
        _mount("POST", "admin/jobs/{id}/cancel", "jobs:write"),
        _mount("POST", "admin/jobs/{id}/retry", "jobs:write"),
        _mount("GET", "scheduler/tasks", "schedules:read"),
        _mount("POST", "scheduler/tasks", "schedules:write"),
        _mount("GET", "scheduler/tasks/{id}", "schedules:read"),
        _mount("PATCH", "scheduler/tasks/{id}", "schedules:write"),
        _mount("DELETE", "scheduler/tasks/{id}", "schedules:write"),
        _mount("POST", "scheduler/tasks/{id}/run", "schedules:write"),
        _mount("GET", "scheduler/tasks/{id}/runs", "schedules:read"),
    )

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._services: ServiceContainer | None = None
        self._scheduling: Scheduling | None = None
        self._crew: Crew | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Look up what there is to work on."""
        from portico.jobs.handler import Handlers
        from portico.jobs.jobs import Jobs
        from portico.jobs.schedules import Schedules
        from portico.services.scheduler.service import Scheduling

        self._services = services
        self._scheduling = Scheduling(services.get(Jobs), services.get(Schedules), services.get(Handlers))

    async def start(self) -> None:
        """Collect what the plugins of this process bring, and begin to work."""
        from portico.contracts import Snapshot
        from portico.jobs.crew import Crew
        from portico.jobs.handler import Handlers
        from portico.jobs.inbox import Inbox
        from portico.jobs.jobs import Jobs
        from portico.jobs.schedules import Schedules
        from portico.jobs.wake import Wake
        from portico.services.host import Host
        from portico.storage.database import Database
        from portico.telemetry.counts import Counts
        from portico.telemetry.tracing.process import Tracing

        assert self._services is not None, "initialize comes first"
        services, handlers = self._services, self._services.get(Handlers)
        plugins = services.get(Host).plugins
        for plugin in plugins:
            if isinstance(plugin, ProvidesJobs):
                handlers.add(plugin.jobs(), plugin.info.id)
        own = [each for plugin in plugins if isinstance(plugin, ProvidesSchedules) for each in plugin.schedules()]
        await services.get(Schedules).bring(own)
        db, settings, counts = services.get(Database), services.get(Snapshot).jobs, services.get(Counts)
        inbox = services.get(Inbox) if services.has(Inbox) else None
        traces = services.get(Tracing)
        self._crew = Crew(db, services.get(Jobs), handlers, services.get(Wake), settings, counts, inbox, traces)
        self._crew.start()

    def jobs(self) -> Sequence[Handler]:
        """Calls to addresses, for schedules of users."""
        from portico.outbound import Client
        from portico.services.scheduler.call import Caller

        assert self._services is not None, "initialize comes first"
        return [Caller(self._services.get(Client)).handler()]

    async def stop(self) -> None:
        """Put back what does not end in time."""
        crew, self._crew = self._crew, None
        if crew is not None:
            await crew.stop()
        self._services = self._scheduling = None

    def router(self) -> APIRouter:
        """The routes of `mounts`."""
        from portico.services.scheduler.router import build

        assert self._scheduling is not None, "initialize comes first"
        return build(self._scheduling)
