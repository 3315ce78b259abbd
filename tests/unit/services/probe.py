"""A plugin for tests: it writes down what is done with it, and fails where it is told to."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from portico.contracts import Mount
from portico.kernel.container import ServiceContainer
from portico.kernel.plugin import BasePlugin, Health, PluginInfo, PluginType


class Probe(BasePlugin[dict[str, Any]]):
    """`mark` is what it answers; `log` a file; `fails` start, router or mounts; `health` down, raise or hang."""

    info: ClassVar = PluginInfo("probe", PluginType.BUSINESS, summary="for tests")
    mounts = tuple(
        Mount("GET", f"/api/v1/probe/{name}") for name in ("mark", "slow", "caller", "boom", "late", "teapot")
    )
    mounts += (Mount("POST", "/api/v1/probe/item"),)

    def _note(self, what: str) -> None:
        if "log" in self.config:
            with open(self.config["log"], "a") as file:
                file.write(what + "\n")

    async def initialize(self, services: ServiceContainer) -> None:
        self._note("initialize")

    async def start(self) -> None:
        self._note("start")
        if self.config.get("fails") == "start":
            raise RuntimeError("the dependency is away")

    async def stop(self) -> None:
        self._note("stop")

    async def health(self) -> Health:
        match self.config.get("health"):
            case "down":
                return Health(False, "on fire")
            case "raise":
                raise RuntimeError("on fire")
            case "hang":
                await asyncio.sleep(60)
        return Health(True)

    def router(self) -> Any:
        from tests.unit.services.probe_router import build

        if self.config.get("fails") == "router":
            raise RuntimeError("the dependency is away")
        return build(self.config.get("mark", ""), float(self.config.get("slow", 0.5)), self._note,
                     hidden=self.config.get("fails") == "mounts")  # fmt: skip
