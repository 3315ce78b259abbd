"""The door of `storage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from portico.kernel.plugin import BasePlugin, Health, PluginInfo, PluginType

if TYPE_CHECKING:
    from portico.kernel.container import ServiceContainer
    from portico.storage.assembly import Assembly


class StoragePlugin(BasePlugin[dict[str, Any]]):
    """Opens the vault and the database, and provides the repositories."""

    dependency: ClassVar = "database"  # what its health is about
    info: ClassVar = PluginInfo("storage", PluginType.INFRASTRUCTURE, order=20, summary="vault and database")

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.assembly: Assembly | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Open the vault, since every repository needs its keys; provide what there will be."""
        from portico.contracts import Boot, Snapshot
        from portico.storage.assembly import Assembly

        self.assembly = await Assembly.make(services.get(Boot), services.get(Snapshot))
        self.assembly.provide(services)

    async def start(self) -> None:
        """Open the database."""
        assert self.assembly is not None, "initialize comes first"
        await self.assembly.start()

    async def stop(self) -> None:
        """Close it."""
        assembly, self.assembly = self.assembly, None
        if assembly is not None:
            await assembly.stop()

    async def health(self) -> Health:
        """Whether the database answers, and how fast."""
        from portico.errors import StorageError

        assert self.assembly is not None, "initialize comes first"
        try:
            return await self.assembly.health()
        except StorageError as error:
            return Health(False, str(error))
