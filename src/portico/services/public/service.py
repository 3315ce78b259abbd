"""Finds out how the gateway is."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import portico
from portico.contracts import SERVICES
from portico.kernel.discovery import DEFAULT
from portico.kernel.plugin import ReportsHealth
from portico.services.host import Host
from portico.services.public.schemas import Status

LAYERS: Final = ("public", "app", "mcp", "admin")
PATIENCE: Final = 1.0  # seconds for one dependency's answer


async def status(host: Host) -> Status:
    """The state now; asks the supervisor and every plugin that reports its health, all at once."""
    reporting = {plugin.info.id: plugin for plugin in host.plugins if isinstance(plugin, ReportsHealth)}
    asked = asyncio.gather(*(_state(plugin) for plugin in reporting.values()))
    dependencies = await _halves(host)
    dependencies.update(zip(reporting, await asked, strict=True))
    enabled = {spec.id for spec in host.snapshot.plugins}
    return Status(
        status="ok" if set(dependencies.values()) == {"ok"} else "degraded",
        version=portico.__version__,
        environment="demo" if host.snapshot.demo else "production",
        features={name: name in enabled for name in sorted({*DEFAULT, *enabled})},
        layers={layer: _layer(host, layer) for layer in LAYERS},
        dependencies=dependencies,
    )


async def _halves(host: Host) -> dict[str, str]:
    try:
        answer = await host.ask("health")
    except TimeoutError:
        return {"edge": "unknown", "services": "ok"}  # we are answering
    return {name: str(answer.get(name, "unknown")) for name in ("edge", "services")}


async def _state(plugin: ReportsHealth) -> str:
    try:
        health = await asyncio.wait_for(plugin.health(), PATIENCE)
    except Exception:  # the plugin's own code; whatever it is, its dependency can't be said to be well
        return "unknown"
    return "ok" if health.ok else "down"


def _layer(host: Host, layer: str) -> Literal["available", "absent"]:
    return (
        "available"
        if any(route.layer == layer and route.upstream == SERVICES for route in host.snapshot.routes)
        else "absent"
    )
