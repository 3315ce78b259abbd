"""The door of `outbound`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType
from portico.outbound import Bounds, Client

if TYPE_CHECKING:
    from portico.kernel.container import ServiceContainer

BOUNDS: Final = Bounds(calls=512, waiting=512)  # some of them to servers that never answer


class OutboundPlugin(BasePlugin[dict[str, Any]]):
    """Provides `Client`, which calls whom `outbound` allows: the one for addresses that users supply."""

    info: ClassVar = PluginInfo(
        "outbound", PluginType.INFRASTRUCTURE, order=40, summary="guarded calls to other people's addresses"
    )

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._client: Client | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Offer it."""
        from portico.contracts import Snapshot
        from portico.outbound.meter import Meter
        from portico.outbound.rules import guard
        from portico.telemetry.counts import Counts

        wanted = services.get(Snapshot).outbound
        meter = Meter(services.get(Counts))
        self._client = Client(guard(wanted), BOUNDS, proxy=wanted.proxy, meter=meter)
        services.provide(Client, self._client)

    async def start(self) -> None:
        """Make ready; opens no connection yet."""
        assert self._client is not None, "initialize comes first"
        await self._client.start()

    async def stop(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.stop()
