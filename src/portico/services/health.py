"""What this process depends on, and how it is: asked of every plugin that reports its health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from portico.errors import PorticoError
from portico.kernel.plugin import AnyPlugin, Health, ReportsDependencies, ReportsHealth
from portico.telemetry import logs

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
        several = [plugin for plugin in plugins if isinstance(plugin, ReportsDependencies)]
        found = await asyncio.gather(
            *(self._one(name, plugin) for name, plugin in asked.items()),
            *(self._several(plugin) for plugin in several),
        )
        return {name: state for states in found for name, state in states.items()}

    async def _several(self, plugin: ReportsDependencies) -> dict[str, State]:
        try:
            async with asyncio.timeout(PATIENCE):
                found = await plugin.dependencies()
        except Exception as error:  # the plugin's own code; the others' states are told all the same
            logs.get("portico.services").error("a plugin does not tell its dependencies", cause=type(error).__name__)
            return {}
        return {name: self._state(name, health, health.latency or 0.0) for name, health in found.items()}

    async def _one(self, name: str, plugin: ReportsHealth) -> dict[str, State]:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                health = await plugin.health()
        except TimeoutError:
            failed = f"no answer within {PATIENCE:g} s"
        except Exception as error:  # the plugin's own code; whatever it is, its dependency can't be said to be well
            failed = str(error) if isinstance(error, PorticoError) else type(error).__name__
        else:
            seconds = time.monotonic() - began if health.latency is None else health.latency
            return {name: self._state(name, health, seconds)}
        self._failed[name] = failed
        return {name: _told("unknown", failed, time.monotonic() - began, failed)}

    def _state(self, name: str, health: Health, seconds: float) -> State:
        failed = health.last_error or ("" if health.ok else health.detail or "it is down")
        if failed:
            self._failed[name] = failed
        return _told("ok" if health.ok else "down", health.detail or failed, seconds, self._failed.get(name))


def _told(status: str, detail: str, seconds: float, last_error: str | None) -> State:
    return {
        "status": status,
        "detail": detail,
        "latency_ms": round(seconds * 1000, 2),
        "last_error": last_error,
    }
