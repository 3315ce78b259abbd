"""The door of `jobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

if TYPE_CHECKING:
    from portico.jobs.wake import Wake
    from portico.kernel.container import ServiceContainer


class JobsPlugin(BasePlugin[dict[str, Any]]):
    """Provides `Jobs`, to enqueue, `Schedules`, and `Handlers`, which the worker runs."""

    info: ClassVar = PluginInfo("jobs", PluginType.INFRASTRUCTURE, ("storage",), order=30, summary="background jobs")

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.wake: Wake | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Provide what there will be."""
        from portico.jobs.handler import Handlers
        from portico.jobs.jobs import Jobs
        from portico.jobs.schedules import Schedules
        from portico.jobs.wake import Wake
        from portico.storage.database import Database

        database, handlers = services.get(Database), Handlers()
        self.wake = Wake(database)
        services.provide(Handlers, handlers)
        services.provide(Wake, self.wake)
        jobs = Jobs(database, handlers, self.wake)
        services.provide(Jobs, jobs)
        services.provide(Schedules, Schedules(database, jobs))

    async def start(self) -> None:
        """Listen for what other processes enqueue."""
        assert self.wake is not None, "initialize comes first"
        self.wake.start()

    async def stop(self) -> None:
        """Listen no more."""
        wake, self.wake = self.wake, None
        if wake is not None:
            await wake.stop()
