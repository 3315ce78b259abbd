"""A plugin for the benchmark: a path of the services that computes for 20 ms."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.contracts import Mount
from portico.kernel import BasePlugin, PluginInfo, PluginType

if TYPE_CHECKING:
    from fastapi import APIRouter

BURN: Final = 0.02  # seconds of CPU time


class Burn(BasePlugin[dict[str, Any]]):
    """Serves /api/v1/burn."""

    info: ClassVar = PluginInfo("bench_burn", PluginType.BUSINESS, summary="computes")
    mounts = (Mount("GET", "/api/v1/burn"),)

    def router(self) -> APIRouter:
        """One route, which keeps the services' loop busy while it computes."""
        from fastapi import APIRouter

        router = APIRouter()

        @router.get("/api/v1/burn")
        async def burn() -> dict[str, float]:
            end = time.thread_time() + BURN
            while time.thread_time() < end:
                pass
            return {"computed": BURN}

        return router
