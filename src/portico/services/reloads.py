"""A reload as a record of the audit trail. The configuration is served already, so it is not undone if that fails."""

from __future__ import annotations

from portico.contracts import Snapshot
from portico.errors import StorageError
from portico.kernel.container import ServiceContainer
from portico.storage.audit import note
from portico.telemetry import logs


async def recorded(services: ServiceContainer, snapshot: Snapshot) -> None:
    """Record that `snapshot` is served from now on, where there is a database."""
    if not any(plugin.id == "storage" for plugin in snapshot.plugins):
        return  # nor is the database's driver loaded
    from portico.storage.database import Database

    try:
        async with services.get(Database).write() as session:
            note(session, "config.reload", ("configuration", snapshot.source), detail={"version": snapshot.version})
    except StorageError as error:
        logs.get("portico.audit").error("a reload can't be recorded", cause=str(error))
