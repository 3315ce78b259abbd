"""Plugins that each break one rule, for the tests of the conformance suite."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any, ClassVar

from portico.contracts import ADMIT, Mount
from portico.kernel.container import ServiceContainer
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType, PolicySpec

Config = dict[str, Any]


def _info(name: str) -> PluginInfo:
    return PluginInfo(name, PluginType.BUSINESS, summary="for tests")


class Good(BasePlugin[Config]):
    info: ClassVar = _info("good")


class OddId(BasePlugin[Config]):
    info: ClassVar = _info("Odd Id")


class OpensInConstructor(BasePlugin[Config]):
    info: ClassVar = _info("opens")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.sock = socket.socket()


class ChangesConfig(BasePlugin[Config]):
    info: ClassVar = _info("changes")

    def __init__(self, config: Config) -> None:
        super().__init__({**config, "more": 1})


class LeavesTask(BasePlugin[Config]):
    info: ClassVar = _info("leaves_task")

    async def start(self) -> None:
        self.task = asyncio.create_task(asyncio.sleep(60))


class LeavesThread(BasePlugin[Config]):
    info: ClassVar = _info("leaves_thread")

    async def start(self) -> None:
        threading.Thread(target=threading.Event().wait, args=(60,), daemon=True).start()


class StopsOnce(BasePlugin[Config]):
    info: ClassVar = _info("stops_once")

    async def start(self) -> None:
        self.socks = [socket.socket()]

    async def stop(self) -> None:
        self.socks.pop().close()


class NeedsStart(BasePlugin[Config]):
    info: ClassVar = _info("needs_start")

    async def start(self) -> None:
        self.sock = socket.socket()

    async def stop(self) -> None:
        self.sock.close()


class LeaksWhenCut(BasePlugin[Config]):
    info: ClassVar = _info("leaks_when_cut")

    async def initialize(self, services: ServiceContainer) -> None:
        self.sock: socket.socket | None = None

    async def start(self) -> None:
        sock = socket.socket()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.leaked = sock.detach()
            raise
        self.sock = sock

    async def stop(self) -> None:
        if getattr(self, "sock", None) is not None:
            assert self.sock is not None
            self.sock.close()


class LaxModel(BasePlugin[Config]):
    info: ClassVar = _info("lax_model")
    config_model = "tests.unit.testing.models:Lax"


class StrictModel(BasePlugin[Config]):
    info: ClassVar = _info("strict_model")
    config_model = "tests.unit.testing.models:Strict"


class NoPhase(BasePlugin[Config]):
    info: ClassVar = _info("no_phase")

    def policies(self) -> list[PolicySpec]:
        return [PolicySpec("no_phase", 7, 1, "portico.edge.policies.access:build")]


class HeavyPolicy(BasePlugin[Config]):
    info: ClassVar = _info("heavy_policy")

    def policies(self) -> list[PolicySpec]:
        return [PolicySpec("heavy_policy", ADMIT, 1, "tests.unit.testing.models:Strict")]


class Twins(BasePlugin[Config]):
    info: ClassVar = _info("twins")

    def policies(self) -> list[PolicySpec]:
        return [PolicySpec("twin", ADMIT, 1, "portico.edge.policies.access:build")] * 2


class Undeclared(BasePlugin[Config]):
    info: ClassVar = _info("undeclared")
    mounts = (Mount("GET", "/api/v1/declared"),)

    def router(self) -> Any:
        from fastapi import APIRouter

        router = APIRouter()
        router.add_api_route("/api/v1/declared", lambda: None, methods=["GET"])
        router.add_api_route("/api/v1/forgotten", lambda: None, methods=["POST"])
        return router


class Unreachable(BasePlugin[Config]):
    info: ClassVar = _info("unreachable")
    mounts = (Mount("GET", "/_portico/x"),)

    def router(self) -> Any:
        raise AssertionError("not reached")
