"""How the webhooks of a tenant, or of all of them, have fared since they were registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import func, select

from portico.storage.tables import EndpointRow

if TYPE_CHECKING:
    from portico.storage.database import Database


@dataclass(frozen=True, slots=True)
class Fared:
    """Attempts to deliver to one endpoint, or to several; `seconds` is what all of them took."""

    delivered: int
    failed: int
    seconds: float
    id: str = ""
    host: str = ""  # never the whole URL, which may hold a secret


@dataclass(frozen=True, slots=True)
class Numbers:
    """All endpoints together, and those with most failures."""

    endpoints: int
    disabled: int
    pending: int
    attempts: Fared
    worst: tuple[Fared, ...]


async def numbers(db: Database, tenant: str | None, worst: int = 10) -> Numbers:
    """Those of `tenant`; None: of all."""
    row = EndpointRow
    mine = row.deleted_at.is_(None) & (row.tenant_id == tenant if tenant is not None else row.id.is_not(None))
    sums = select(
        func.count(),
        func.count(row.disabled_at),
        func.coalesce(func.sum(row.pending), 0),
        func.coalesce(func.sum(row.delivered), 0),
        func.coalesce(func.sum(row.failed), 0),
        func.coalesce(func.sum(row.seconds), 0.0),
    ).where(mine)
    most = select(row).where(mine, row.failed > 0).order_by(row.failed.desc(), row.id).limit(worst)
    async with db.read() as session:
        endpoints, disabled, pending, delivered, failed, seconds = (await session.execute(sums)).one()
        found = (await session.scalars(most)).all()
    each = tuple(Fared(at.delivered, at.failed, at.seconds, at.id, urlsplit(at.url).hostname or "") for at in found)
    return Numbers(endpoints, disabled, int(pending), Fared(int(delivered), int(failed), float(seconds)), each)
