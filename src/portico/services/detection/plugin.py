"""The door of `detection`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, Health, PluginInfo, PluginType

if TYPE_CHECKING:
    from fastapi import APIRouter

    from portico.jobs import Handler, Schedule
    from portico.kernel.container import ServiceContainer
    from portico.services.detection.assembly import Assembly

BODY: Final = 256 * 1024  # bytes: 10,000 characters as \u escapes, and metadata
TEXTS: Final = 100  # of a batch
BATCH: Final = 13 * 1024 * 1024  # bytes: so many times 10,000 characters as \u escapes
WHO: Final = ("api_key", "jwt")
DECISION: Final = 64 * 1024  # bytes of a body


def _reviews(method: str, path: str, permission: str) -> Mount:
    tail = f"detect/reviews{path}"
    return Mount(method, f"/api/v1/{tail}", (f"/v1/{tail}",), "app", WHO, permission, DECISION)


def _mount(method: str, path: str, body: int | None = BODY, costs: int = 1) -> Mount:
    names = (f"/v1/detect{path}",)
    return Mount(method, f"/api/v1/detect{path}", names, "app", WHO, "detect:use", body, costs=costs)


class DetectionPlugin(BasePlugin[dict[str, Any]]):
    """Judges texts, by engines or the embedded detector; keeps those for people that nobody could judge in time."""

    info: ClassVar = PluginInfo(
        "detection",
        PluginType.BUSINESS,
        ("storage", "state", "jobs", "webhooks"),
        order=30,
        summary="prompt-injection detection",
    )
    mounts = (
        _mount("POST", ""),
        _mount("POST", "/batch", BATCH, TEXTS),
        _mount("POST", "/async"),
        _mount("GET", "/jobs/{id}", None),
        _mount("DELETE", "/jobs/{id}", None),
        _reviews("GET", "", "reviews:read"),
        _reviews("GET", "/export", "reviews:read"),
        _reviews("GET", "/{id}", "reviews:read"),
        _reviews("POST", "/{id}/decide", "reviews:write"),
    )

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.assembly: Assembly | None = None

    async def initialize(self, services: ServiceContainer) -> None:
        """Look up what it works on."""
        from portico.services.detection.assembly import Assembly

        self.assembly = Assembly(services, self.config)

    async def start(self) -> None:
        """Make ready."""
        assert self.assembly is not None, "initialize comes first"
        await self.assembly.start()

    async def stop(self) -> None:
        """Let go of engines; write what waits to be written."""
        assembly, self.assembly = self.assembly, None
        if assembly is not None:
            await assembly.stop()

    async def dependencies(self) -> Mapping[str, Health]:
        """The health of each engine."""
        return {} if self.assembly is None else self.assembly.engines.health()

    def router(self) -> APIRouter:
        """The routes of `mounts`."""
        from portico.services.detection.reviews import router as reviews
        from portico.services.detection.router import build

        assert self.assembly is not None, "initialize comes first"
        whole = build(self.assembly)
        # Their own class of route stays. `include_router` would hide the paths until the first request.
        whole.routes.extend(reviews.build(self.assembly.reviews, drop=self.assembly.drop).routes)
        return whole

    def internal(self) -> APIRouter:
        """What the guards of the edge ask."""
        from portico.services.detection.internal import build

        assert self.assembly is not None, "initialize comes first"
        return build(self.assembly)

    def jobs(self) -> Sequence[Handler]:
        """What runs in the background."""
        assert self.assembly is not None, "initialize comes first"
        return self.assembly.handlers()

    def schedules(self) -> Sequence[Schedule]:
        """Upkeep."""
        assert self.assembly is not None, "initialize comes first"
        return self.assembly.schedules()
