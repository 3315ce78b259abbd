"""Finds out how the gateway is."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import portico
from portico.contracts import SERVICES
from portico.kernel.discovery import DEFAULT
from portico.services.host import Host
from portico.services.public.schemas import Dependency, DetailedStatus, Status

LAYERS: Final = ("public", "app", "mcp", "admin")


async def status(host: Host) -> Status:
    """The state now; asks the supervisor and every plugin that reports its health, all at once."""
    whole = await detailed(host)
    return Status(**{name: getattr(whole, name) for name in Status.model_fields})


async def detailed(host: Host) -> DetailedStatus:
    """The same with what is known of each dependency."""
    asked = asyncio.create_task(host.dependencies.check(host.plugins))
    dependencies = await _halves(host)
    details = {name: Dependency(**state) for name, state in (await asked).items()}
    dependencies.update({name: detail.status for name, detail in details.items()})
    enabled = {spec.id for spec in host.snapshot.plugins}
    return DetailedStatus(
        status="ok" if set(dependencies.values()) == {"ok"} else "degraded",
        version=portico.__version__,
        environment="demo" if host.snapshot.demo else "production",
        features={name: name in enabled for name in sorted({*DEFAULT, *enabled})},
        layers={layer: _layer(host, layer) for layer in LAYERS},
        dependencies=dependencies,
        details=details,
    )


async def _halves(host: Host) -> dict[str, str]:
    try:
        answer = await host.ask("health")
    except TimeoutError:
        return {"edge": "unknown", "services": "ok"}  # we are answering
    return {name: str(answer.get(name, "unknown")) for name in ("edge", "services")}


def _layer(host: Host, layer: str) -> Literal["available", "absent"]:
    return (
        "available"
        if any(route.layer == layer and route.upstream == SERVICES for route in host.snapshot.routes)
        else "absent"
    )
