"""The door of `admin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

if TYPE_CHECKING:
    from fastapi import APIRouter

    from portico.kernel.container import ServiceContainer
    from portico.services.admin.service import Admin
    from portico.services.admin.statistics import Statistics

BODY: Final = 64 * 1024  # bytes
WHO: Final = ("api_key", "jwt")


def _mount(method: str, path: str, permission: str, *aliases: str) -> Mount:
    return Mount(method, f"/api/v1/admin/{path}", aliases, "admin", WHO, permission, BODY)


class AdminPlugin(BasePlugin[dict[str, Any]]):
    """Keys, people, invitations and usage, for those who administer them."""

    info: ClassVar = PluginInfo(
        "admin", PluginType.BUSINESS, ("storage", "auth"), order=20, summary="administration of keys and people; usage"
    )
    mounts = (
        _mount("GET", "keys", "keys:read"),
        _mount("POST", "keys", "keys:write"),
        _mount("GET", "keys/{id}", "keys:read"),
        _mount("DELETE", "keys/{id}", "keys:write"),
        _mount("POST", "keys/{id}/rotate", "keys:write"),
        _mount("GET", "users", "users:read", "/admin/users"),
        _mount("POST", "users", "users:write", "/admin/users"),
        _mount("GET", "users/{id}", "users:read", "/admin/users/{id}"),
        _mount("PATCH", "users/{id}", "users:write", "/admin/users/{id}"),
        _mount("POST", "invitations", "users:write"),
        _mount("GET", "stats", "stats:read", "/admin/stats"),
        _mount("GET", "usage", "usage:read", "/admin/usage"),
        _mount("GET", "usage/{id}", "usage:read", "/admin/usage/{id}"),
        _mount("GET", "requests", "usage:read"),
    )

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.admin: Admin | None = None
        self.statistics: Statistics | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Look up the repositories."""
        from portico.services.admin.service import Admin
        from portico.services.admin.statistics import Statistics
        from portico.services.host import Host
        from portico.storage.accounts import Invitations, Keys, People
        from portico.storage.database import Database
        from portico.storage.usage import Judgements, Ranks, Recent, Retention, Usage

        host, keys, people = services.get(Host), services.get(Keys), services.get(People)
        self.admin = Admin(host, keys, people, services.get(Invitations))
        self.statistics = Statistics(
            host,
            keys,
            people,
            services.get(Usage),
            Judgements(services.get(Database)),
            services.get(Ranks),
            services.get(Recent),
            services.get(Retention),
            services.get(Database),
        )

    async def stop(self) -> None:
        """Forget them."""
        self.admin = self.statistics = None

    def router(self) -> APIRouter:
        """The routes of `mounts`."""
        from portico.services.admin import usage_router
        from portico.services.admin.router import build

        assert self.admin is not None, "initialize comes first"
        assert self.statistics is not None
        router = build(self.admin)
        usage_router.add(router, self.statistics)
        return router
