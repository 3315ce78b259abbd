"""The door of `auth`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

if TYPE_CHECKING:
    from fastapi import APIRouter

    from portico.kernel.container import ServiceContainer
    from portico.services.auth.assembly import Assembly

BODY: Final = 64 * 1024  # bytes
ANY: Final = ("api_key", "jwt", "certificate")
KEY: Final = ("api_key",)
TOKEN: Final = ("jwt",)


def _mount(method: str, path: str, layer: str, credentials: tuple[str, ...] = ()) -> Mount:
    return Mount(method, f"/api/v1/auth/{path}", (f"/auth/{path}",), layer, credentials, body_bytes=BODY)


class Auth(BasePlugin[dict[str, Any]]):
    """Registration, login, profile, sessions; and what the edges must know of callers."""

    info: ClassVar = PluginInfo(
        "auth", PluginType.SECURITY, ("storage", "state"), order=30, summary="keys, people, sessions, tokens"
    )
    mounts = (
        _mount("POST", "register", "public"),
        _mount("GET", "profile", "app", ANY),
        _mount("PATCH", "profile", "app", ANY),
        _mount("POST", "rotate-key", "app", KEY),
        _mount("DELETE", "revoke", "app", KEY),
        _mount("POST", "login", "public"),
        _mount("POST", "refresh", "public"),
        _mount("POST", "logout", "app", TOKEN),
        _mount("GET", "sessions", "app", TOKEN),
        _mount("DELETE", "sessions/{id}", "app", TOKEN),
        Mount("GET", "/api/v1/auth/jwks.json", layer="public", body_bytes=BODY),
    )

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.assembly: Assembly | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Look up the repositories."""
        from portico.services.auth.assembly import Assembly

        self.assembly = Assembly(services)

    async def start(self) -> None:
        """Make the first administrator, fetch the keys of issuers, begin to tell the edges."""
        assert self.assembly is not None, "initialize comes first"
        await self.assembly.start()

    async def stop(self) -> None:
        """End the edges' streams."""
        assembly, self.assembly = self.assembly, None
        if assembly is not None:
            await assembly.stop()

    def router(self) -> APIRouter:
        """The routes of `mounts`."""
        from portico.services.auth.router import build

        assert self.assembly is not None, "initialize comes first"
        return build(self.assembly.parts)

    def internal(self) -> APIRouter:
        """What the edge asks."""
        from portico.services.auth.internal import build

        assert self.assembly is not None, "initialize comes first"
        return build(self.assembly.parts)
