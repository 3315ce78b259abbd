"""The plugins of the services as one snapshot wants them, and the application made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from portico.contracts import Backups, Boot, PluginSpec, Snapshot, Tokens
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

    def __init__(self, snapshot: Snapshot, host: Host, lifecycle: Lifecycle) -> None:
        self.wanted = _wanted(snapshot)
        self.host = host
        self.lifecycle = lifecycle
        self.in_flight = 0
        self._app: ASGIApp | None = None
        self._idle = asyncio.Event()

    @classmethod
    async def begin(cls, snapshot: Snapshot, boot: Boot, ask: Callable[[str], Awaitable[dict[str, Any]]]) -> Self:
        """Make and start the plugins of `snapshot` that the services run; PluginError names the one that fails.

        The container has `Host`, `Boot` and `Snapshot`: the last as it is now, while `Host.snapshot` follows reloads.
        """
        plugins = [instantiate(spec.id, spec.factory, spec.config) for spec in snapshot.plugins]
        host = Host(snapshot, ask)
        services = ServiceContainer()
        services.provide(Host, host)
        services.provide(Boot, boot)
        services.provide(Snapshot, snapshot)
        lifecycle = Lifecycle(for_role(plugins, SERVICES), services)
        host.plugins = lifecycle.plugins
        generation = cls(snapshot, host, lifecycle)
        await lifecycle.start()
        try:
            generation._app = build(lifecycle.plugins, boot.internal_key)
        except BaseException:
            await lifecycle.stop()
            raise
        return generation

    def serves(self, snapshot: Snapshot) -> bool:
        """Whether `snapshot` wants the same plugins, and of them what they look up only once."""
        return self.wanted == _wanted(snapshot)

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
        self.host.leaving.set()
        self._idle.clear()
        if self.in_flight:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), patience)
        try:
            await self.lifecycle.stop()
        finally:
            self._app = None
            forget()


def _wanted(snapshot: Snapshot) -> tuple[tuple[PluginSpec, ...], Tokens, Backups]:
    """What plugins are made of; the rest of a snapshot reaches them as `Host.snapshot`."""
    return snapshot.plugins, snapshot.identity.tokens, snapshot.backups
