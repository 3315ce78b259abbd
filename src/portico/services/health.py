"""What this process depends on, and how it is: asked of every plugin that reports its health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from portico.errors import PorticoError
from portico.kernel.plugin import AnyPlugin, ReportsHealth

PATIENCE: Final = 1.0  # seconds for one dependency's answer
EVERY: Final = 5.0

State = dict[str, Any]  # status (ok, down, unknown), detail, latency_ms, last_error (None or a sentence)


class Dependencies:
    """Asks now, or every five seconds, and remembers what failed last."""

    def __init__(self) -> None:
        self._failed: dict[str, str] = {}

    async def check(self, plugins: Sequence[AnyPlugin]) -> dict[str, State]:
        """Name → state of every dependency of these plugins, asked all at once; takes at most a second."""
        asked = {
            str(getattr(plugin, "dependency", plugin.info.id)): plugin
            for plugin in plugins
            if isinstance(plugin, ReportsHealth)
        }
        found = await asyncio.gather(*(self._one(name, plugin) for name, plugin in asked.items()))
        return dict(zip(asked, found, strict=True))

    async def _one(self, name: str, plugin: ReportsHealth) -> State:
        began = time.monotonic()
        status, detail, latency = "unknown", "", None
        try:
            health = await asyncio.wait_for(plugin.health(), PATIENCE)
        except TimeoutError:
            failed = f"no answer within {PATIENCE:g} s"
        except Exception as error:  # the plugin's own code; whatever it is, its dependency can't be said to be well
            failed = str(error) if isinstance(error, PorticoError) else type(error).__name__
        else:
            status, detail, latency = "ok" if health.ok else "down", health.detail, health.latency
            failed = health.last_error or ("" if health.ok else health.detail or "it is down")
        if failed:
            self._failed[name] = failed
        seconds = time.monotonic() - began if latency is None else latency
        return {
            "status": status,
            "detail": detail or failed,
            "latency_ms": round(seconds * 1000, 2),
            "last_error": self._failed.get(name),
        }
