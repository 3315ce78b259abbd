"""The door of `usage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

if TYPE_CHECKING:
    from portico.kernel.container import ServiceContainer
    from portico.services.usage.intake import Intake


class Usage(BasePlugin[dict[str, Any]]):
    """Has the edge count, and takes in what it has counted."""

    info: ClassVar = PluginInfo("usage", PluginType.BUSINESS, ("storage",), order=15, summary="usage, taken in")
    background: ClassVar = "takes in what the edge has counted"

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.intake: Intake | None = None
        self._services: ServiceContainer | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Say with which key the edge is to seal."""
        from portico.storage.usage.intake import LABEL
        from portico.storage.vault import Vault
        from portico.telemetry.spool import SpoolKey

        self._services = services
        services.provide(SpoolKey, SpoolKey(services.get(Vault).key(LABEL)))

    async def start(self) -> None:
        """Begin to take in."""
        from pathlib import Path

        from portico.contracts import Boot, Snapshot
        from portico.services.events import Webhooks
        from portico.services.usage.intake import Intake
        from portico.services.usage.takers import takers
        from portico.storage.database import Database
        from portico.storage.usage.intake import SpoolIntake
        from portico.storage.vault import Vault

        assert self._services is not None, "initialize comes first"
        services = self._services
        # `webhooks` starts after this plugin and may be off; what it provides is there once all are initialized.
        webhooks = services.get(Webhooks) if services.has(Webhooks) else None  # type: ignore[type-abstract]
        kept = takers(services.get(Snapshot).usage.recent, webhooks)
        taking = SpoolIntake(services.get(Database), services.get(Vault), kept)
        self.intake = Intake(Path(services.get(Boot).data_dir) / "spool", taking)
        self.intake.start()

    async def stop(self) -> None:
        """Take in what is there, and end."""
        intake, self.intake = self.intake, None
        if intake is not None:
            await intake.stop()
        self._services = None
