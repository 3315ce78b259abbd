"""The plugins of the services as one snapshot wants them, and the application made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from portico.contracts import Audit, Backups, Boot, Detection, Jobs, Outbound, PluginSpec, Snapshot, Tokens
from portico.kernel.container import ServiceContainer
from portico.kernel.discovery import instantiate
from portico.kernel.lifecycle import Lifecycle
from portico.kernel.order import SERVICES, for_role
from portico.services.app import build, forget
from portico.services.host import Host
from portico.telemetry.counts import Counts
from portico.telemetry.tracing.process import Tracing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from portico.jobs.inbox import Inbox


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
    async def begin(
        cls,
        snapshot: Snapshot,
        boot: Boot,
        ask: Callable[[str], Awaitable[dict[str, Any]]],
        counts: Counts,
        role: str = SERVICES,
        tracing: Tracing | None = None,
        inbox: Inbox | None = None,
    ) -> Self:
        """Make and start the plugins of `snapshot` that the services run; PluginError names the one that fails.

        As a WORKER it has those that run jobs, and no application; with an `inbox`, only jobs that it is told.

        The container has `Host`, `Boot`, `Counts`, `Tracing` and `Snapshot`: the last as it is now, while
        `Host.snapshot` follows reloads.
        """
        tracing = tracing or Tracing()
        plugins = [instantiate(spec.id, spec.factory, spec.config) for spec in snapshot.plugins]
        host = Host(snapshot, ask)
        services = ServiceContainer()
        services.provide(Host, host)
        services.provide(Boot, boot)
        services.provide(Snapshot, snapshot)
        services.provide(Tracing, tracing)
        services.provide(Counts, counts)
        if inbox is not None:
            services.provide(type(inbox), inbox)
        lifecycle = Lifecycle(for_role(plugins, role), services)
        host.plugins = lifecycle.plugins
        generation = cls(snapshot, host, lifecycle)
        await lifecycle.start()
        try:
            if role == SERVICES:
                proxies = lambda: host.snapshot.server.trusted_proxies  # noqa: E731
                generation._app = build(lifecycle.plugins, boot.internal_key, proxies, tracing)
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
                async with asyncio.timeout(patience):
                    await self._idle.wait()
        try:
            await self.lifecycle.stop()
        finally:
            self._app = None
            forget()


def _wanted(snapshot: Snapshot) -> tuple[tuple[PluginSpec, ...], Tokens, Backups, Audit, Outbound, Jobs, Detection]:
    """What plugins are made of; the rest of a snapshot reaches them as `Host.snapshot`."""
    made_of = (snapshot.backups, snapshot.audit, snapshot.outbound, snapshot.jobs, snapshot.detection)
    return (snapshot.plugins, snapshot.identity.tokens, *made_of)
