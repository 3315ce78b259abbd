"""The tables, one file a subject, and what the rest of `storage` must know of them.

`METADATA` has all of them: migrations are compared with it. `SEALED` names every column that holds what the vault has
sealed, `SEALED_INSIDE` every JSON column that has a sealed text in it. A new one must be named there, or a rekey would
leave it unreadable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from portico.storage.tables import usage
from portico.storage.tables.audit import AuditKeyRow, AuditRefusalRow, AuditRow, AuditWriterRow
from portico.storage.tables.base import Base
from portico.storage.tables.changes import ChangeRow
from portico.storage.tables.detection import ReviewRow
from portico.storage.tables.jobs import AttemptRow, JobRow, ScheduleRow, WorkerCountRow, WorkerRow
from portico.storage.tables.keys import KeyRow
from portico.storage.tables.marks import MarkRow
from portico.storage.tables.people import InvitationRow, PersonRow, RefreshRow, SessionRow
from portico.storage.tables.signing import SigningKeyRow
from portico.storage.tables.spool import SpoolKeyRow, SpoolWriterRow
from portico.storage.tables.webhooks import DeliveryRow, EndpointRow, WebhookAttemptRow, WebhookSecretRow

__all__ = [
    "METADATA",
    "SEALED",
    "SEALED_INSIDE",
    "AttemptRow",
    "AuditKeyRow",
    "AuditRefusalRow",
    "AuditRow",
    "AuditWriterRow",
    "ChangeRow",
    "DeliveryRow",
    "EndpointRow",
    "InvitationRow",
    "JobRow",
    "KeyRow",
    "MarkRow",
    "PersonRow",
    "RefreshRow",
    "ReviewRow",
    "ScheduleRow",
    "Sealed",
    "SealedInside",
    "SessionRow",
    "SigningKeyRow",
    "SpoolKeyRow",
    "SpoolWriterRow",
    "WebhookAttemptRow",
    "WebhookSecretRow",
    "WorkerCountRow",
    "WorkerRow",
    "sealed_as",
    "usage",
]

METADATA: Final = Base.metadata


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column of sealed bytes; `id` is the table's key, by which `sealed_as` names the row to the vault."""

    table: str
    column: str
    id: str = "id"


SEALED: Final = (
    Sealed("signing_keys", "sealed"),
    Sealed("audit_keys", "sealed"),
    Sealed("spool_keys", "sealed"),
    Sealed("webhook_secrets", "sealed"),
    Sealed("detection_reviews", "sealed"),
)


@dataclass(frozen=True, slots=True)
class SealedInside:
    """JSON objects of the rows that `where` (SQL) picks, which may have a sealed value, as base64, under `name`."""

    table: str
    column: str
    name: str
    where: str
    id: str = "id"


SEALED_INSIDE: Final = (SealedInside("jobs", "payload", "sealed", "kind = 'detection.judge'"),)


def sealed_as(table: str, id: str) -> str:  # noqa: A002
    """What `Vault.seal` is told as the row: a sealed value moved to another row does not open."""
    return f"{table}/{id}"
