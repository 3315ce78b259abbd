"""The door of `audit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.types import Scope

    from portico.kernel.container import ServiceContainer
    from portico.services.audit.heads import Sender
    from portico.services.audit.refused import Refusals
    from portico.storage.database import Database

BODY: Final = 64 * 1024  # bytes


class AuditPlugin(BasePlugin[dict[str, Any]]):
    """Shows the audit trail, records what the services refuse, sends the heads of chains to where they are kept."""

    info: ClassVar = PluginInfo(
        "audit", PluginType.BUSINESS, ("storage",), order=25, summary="who did what, and what was refused"
    )
    mounts = (Mount("GET", "/api/v1/admin/audit", (), "admin", ("api_key", "jwt"), "audit:read", BODY),)

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.db: Database | None = None
        self.refusals: Refusals | None = None
        self.sender: Sender | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Look up the database."""
        from portico.contracts import Snapshot
        from portico.services.audit.heads import Sender
        from portico.services.audit.refused import Refusals
        from portico.storage.database import Database

        self.db = services.get(Database)
        self.refusals = Refusals(self.db)
        url = services.get(Snapshot).audit.heads_url
        self.sender = Sender(self.db, url) if url else None

    async def start(self) -> None:
        """Begin to record and to send."""
        assert self.refusals is not None, "initialize comes first"
        self.refusals.start()
        if self.sender is not None:
            await self.sender.start()

    async def stop(self) -> None:
        """Record and send what is left."""
        refusals, self.refusals = self.refusals, None
        if refusals is not None:
            await refusals.stop()
        sender, self.sender = self.sender, None
        if sender is not None:
            await sender.stop()

    def router(self) -> APIRouter:
        """The route of `mounts`."""
        from portico.services.audit.router import build

        assert self.db is not None, "initialize comes first"
        return build(self.db)

    def refused(self, scope: Scope, status: int) -> None:
        """Of every answer from 400 on."""
        if self.refusals is not None:
            self.refusals.add(scope, status)
