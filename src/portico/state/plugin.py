"""The door of `state`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.contracts import Snapshot
from portico.errors import StateUnavailable
from portico.kernel.plugin import BasePlugin, Health, PluginInfo, PluginType
from portico.state import Store, make

if TYPE_CHECKING:
    from portico.kernel.container import ServiceContainer
    from portico.state.cache import Cache

CACHE: Final = 32 * 1024 * 1024  # bytes of the cache when it is in memory, beside the store's own


class StatePlugin(BasePlugin[dict[str, Any]]):
    """Provides `Store` and `Cache` as `state.url` says."""

    info: ClassVar = PluginInfo("state", PluginType.INFRASTRUCTURE, order=30, summary="shared state and cache")

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._store: Store | None = None
        self._cache: Cache | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Offer both."""
        from portico.state.cache import Cache
        from portico.state.memory import Memory

        store = make(services.get(Snapshot).state)
        cache = Cache(store if store.is_shared else Memory(CACHE))  # results must not push out counters
        self._store, self._cache = store, cache
        services.provide(Store, store)  # type: ignore[type-abstract]  # a Protocol is a key here
        services.provide(Cache, cache)

    async def start(self) -> None:
        """Connect. A store that is away stops nothing: it is tried until it is there."""
        assert self._store is not None, "initialize comes first"
        await self._store.start()

    async def stop(self) -> None:
        """Let go of both."""
        if self._cache is not None:
            await self._cache.stop()
        if self._store is not None:
            await self._store.stop()

    async def health(self) -> Health:
        """Whether the store answers, and how fast."""
        assert self._store is not None, "initialize comes first"
        try:
            seconds = await self._store.ping()
        except StateUnavailable as error:
            return Health(False, str(error))
        if not self._store.is_shared:
            return Health(True, "in memory")
        return Health(True, f"answers in {seconds * 1000:.1f} ms")
