"""The door of `webhooks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

if TYPE_CHECKING:
    from fastapi import APIRouter

    from portico.jobs import Handler, Schedule
    from portico.kernel.container import ServiceContainer
    from portico.services.webhooks.assembly import Assembly

BODY: Final = 64 * 1024  # bytes


def _mount(method: str, path: str) -> Mount:
    names = (f"/webhooks/{path}",)
    return Mount(method, f"/api/v1/webhooks/{path}", names, "app", ("api_key", "jwt"), body_bytes=BODY)


class WebhooksPlugin(BasePlugin[dict[str, Any]]):
    """Registers URLs, and delivers events to them; provides `portico.services.events.Webhooks`."""

    config_model: ClassVar[str] = "portico.services.webhooks.settings:Settings"
    info: ClassVar = PluginInfo(
        "webhooks", PluginType.BUSINESS, ("storage", "jobs", "outbound"), order=30, summary="signed webhooks"
    )
    mounts = (
        _mount("POST", "register"),
        _mount("GET", "list"),
        _mount("POST", "test"),
        _mount("DELETE", "{id}"),
        _mount("POST", "{id}/enable"),
        _mount("POST", "{id}/rotate-secret"),
        _mount("GET", "{id}/deliveries"),
        _mount("POST", "deliveries/{id}/replay"),
        _mount("GET", "default-secret"),
        _mount("POST", "default-secret"),
    )

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.assembly: Assembly | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Look up what it works on; provide `Webhooks`."""
        from portico.services.webhooks.assembly import Assembly

        self.assembly = Assembly(services, self.config)

    async def stop(self) -> None:
        """Forget it."""
        self.assembly = None

    def router(self) -> APIRouter:
        """The routes of `mounts`."""
        from portico.services.webhooks.router import build

        assert self.assembly is not None, "initialize comes first"
        return build(self.assembly.hooks)

    def jobs(self) -> Sequence[Handler]:
        """What delivers."""
        assert self.assembly is not None, "initialize comes first"
        return self.assembly.handlers()

    def schedules(self) -> Sequence[Schedule]:
        """Upkeep."""
        assert self.assembly is not None, "initialize comes first"
        return self.assembly.schedules()
