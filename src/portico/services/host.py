"""What a plugin of the services may know of the process it runs in. Get it from the container in `initialize`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from portico.contracts import Snapshot
from portico.kernel.plugin import AnyPlugin
from portico.services.health import Dependencies


class Host:
    """The snapshot that is served, the plugins that run here, and a way to ask the supervisor.

    `leaving` is set when these plugins are about to stop: what would go on for ever ends its answers then. `ask(what)`
    answers the supervisor's body for "health", "status" or "metrics"; TimeoutError when it takes over a second.
    """

    def __init__(self, snapshot: Snapshot, ask: Callable[[str], Awaitable[dict[str, Any]]]) -> None:
        self.snapshot = snapshot
        self.ask = ask
        self.plugins: Sequence[AnyPlugin] = ()
        self.leaving = asyncio.Event()
        self.dependencies = Dependencies()
