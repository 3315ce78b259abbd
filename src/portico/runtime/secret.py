"""What a process is told and what not: the vault's passphrase, and what of the snapshot is the services' alone."""

from __future__ import annotations

import dataclasses
from collections.abc import MutableMapping
from typing import Final

from portico.contracts import Audit, Backups, Detection, Jobs, Outbound, Snapshot, Storage
from portico.runtime.options import SERVICES

PASSPHRASE: Final = "PORTICO_PASSPHRASE"
SECRETS: Final = (PASSPHRASE, "PORTICO_NEW_PASSPHRASE", "PORTICO_RECOVERY_KEY")


def take(environ: MutableMapping[str, str]) -> str | None:
    """The passphrase, taken out of the environment with its kin, so that no child inherits one. None: a key file."""
    found = {name: environ.pop(name, None) for name in SECRETS}
    return found[PASSPHRASE]


def for_role(snapshot: Snapshot, role: str) -> Snapshot:
    """The snapshot as a process of `role` gets it: only the services are told of the database, a proxy, a collector."""
    if role == SERVICES:
        return snapshot
    tracing = None
    if snapshot.tracing is not None:
        tracing = dataclasses.replace(snapshot.tracing, endpoint="", headers={})
    return dataclasses.replace(
        snapshot,
        storage=Storage(),
        backups=Backups(),
        audit=Audit(),
        outbound=Outbound(),
        jobs=Jobs(),
        detection=Detection(),
        tracing=tracing,
    )
