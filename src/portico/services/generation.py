"""The plugins of the services as one snapshot wants them, and the application made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from portico.contracts import PluginSpec, Snapshot
from portico.kernel.container import ServiceContainer
from portico.kernel.discovery import instantiate
from portico.kernel.lifecycle import Lifecycle
from portico.kernel.order import SERVICES, for_role
from portico.services.app import build, forget
from portico.services.host import Host

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Generation:
    """Started plugins and their application. A reload that changes a plugin makes the next one, then retires this."""

    def __init__(self, specs: tuple[PluginSpec, ...], host: Host, lifecycle: Lifecycle) -> None:
        self.specs = specs
        self.host = host
        self.lifecycle = lifecycle
        self.in_flight = 0
        self._app: ASGIApp | None = None
        self._idle = asyncio.Event()

    @classmethod
    async def begin(cls, snapshot: Snapshot, key: bytes, ask: Callable[[str], Awaitable[dict[str, Any]]]) -> Self:
        """Make and start the plugins of `snapshot` that the services run; PluginError names the one that fails."""
        plugins = [instantiate(spec.id, spec.factory, spec.config) for spec in snapshot.plugins]
        host = Host(snapshot, ask)
        services = ServiceContainer()
        services.provide(Host, host)
        lifecycle = Lifecycle(for_role(plugins, SERVICES), services)
        host.plugins = lifecycle.plugins
        generation = cls(snapshot.plugins, host, lifecycle)
        await lifecycle.start()
        try:
            generation._app = build(lifecycle.plugins, key)
        except BaseException:
            await lifecycle.stop()
            raise
        return generation

    def serves(self, snapshot: Snapshot) -> bool:
        """Whether `snapshot` wants the same plugins with the same configuration."""
        return self.specs == snapshot.plugins

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        assert self._app is not None
        self.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    async def retire(self, patience: float) -> None:
        """Let requests in flight end, for at most `patience` seconds; then stop the plugins."""
        self._idle.clear()
        if self.in_flight:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), patience)
        try:
            await self.lifecycle.stop()
        finally:
            self._app = None
            forget()
