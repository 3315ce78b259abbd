"""The door of `public`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

if TYPE_CHECKING:
    from fastapi import APIRouter

    from portico.kernel.container import ServiceContainer
    from portico.services.host import Host


class Public(BasePlugin[dict[str, Any]]):
    """Serves /api/v1/public/status and the documentation of the interface."""

    info: ClassVar = PluginInfo("public", PluginType.BUSINESS, order=10, summary="status and API documentation")
    mounts = (
        Mount("GET", "/api/v1/public/status"),
        Mount(
            "GET",
            "/api/v1/admin/status",
            layer="admin",
            credentials=("api_key", "jwt"),
            permission="health:read",
        ),
        Mount("GET", "/api/v1/public/docs"),
        Mount("GET", "/docs"),
        Mount("GET", "/openapi.json"),
    )

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.host: Host | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Find out where this runs."""
        from portico.services.host import Host

        self.host = services.get(Host)

    async def stop(self) -> None:
        """Forget it."""
        self.host = None

    def router(self) -> APIRouter:
        """The routes of `mounts`."""
        from portico.services.public.router import build

        assert self.host is not None, "initialize comes first"
        return build(self.host)
