"""Secrets of webhooks, sealed by the vault: an endpoint's own, or the default that signs for single requests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from portico.identity import webhooks
from portico.storage.ids import now, uuid7
from portico.storage.tables import WebhookSecretRow, sealed_as

if TYPE_CHECKING:
    from portico.storage.vault import Vault

TABLE: Final = "webhook_secrets"


class Secrets:
    """The repository of them. All work is in the caller's transaction."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def signing(self, session: AsyncSession, tenant: str, owner: str, endpoint: str | None) -> list[bytes]:
        """What signs now, the newest first; `endpoint` None: the owner's default."""
        living = or_(WebhookSecretRow.retires_at.is_(None), WebhookSecretRow.retires_at > now())
        wanted = select(WebhookSecretRow).where(_whose(tenant, owner, endpoint), living)
        rows = await session.scalars(wanted.order_by(WebhookSecretRow.id.desc()))
        return [self._vault.unseal(row.sealed, sealed_as(TABLE, row.id)) for row in rows]

    def add(self, session: AsyncSession, tenant: str, owner: str, endpoint: str | None, secret: bytes) -> None:
        """A secret that signs from now on."""
        session.add(self._row(tenant, owner, endpoint, secret))

    async def default(self, session: AsyncSession, tenant: str, owner: str) -> None:
        """Make the owner's default secret, unless there is one."""
        present = select(WebhookSecretRow.id).where(_whose(tenant, owner, None), WebhookSecretRow.retires_at.is_(None))
        if await session.scalar(present) is not None:
            return
        try:
            async with session.begin_nested():
                self.add(session, tenant, owner, None, webhooks.generate())
        except IntegrityError:  # another process has just made one
            return

    async def since(self, session: AsyncSession, tenant: str, owner: str) -> datetime | None:
        """When the present default secret was made."""
        wanted = select(WebhookSecretRow.created_at).where(
            _whose(tenant, owner, None), WebhookSecretRow.retires_at.is_(None)
        )
        return await session.scalar(wanted)

    async def rotate(
        self, session: AsyncSession, tenant: str, owner: str, endpoint: str | None, secret: bytes, grace: float
    ) -> datetime:
        """Replace what signs now: it signs beside the new one until the time that is answered."""
        moment = now()
        until = moment + timedelta(seconds=grace)
        old = select(WebhookSecretRow).where(_whose(tenant, owner, endpoint)).with_for_update()
        for row in await session.scalars(old):
            if row.retires_at is None:
                row.retires_at = until
            elif row.retires_at > moment:
                row.retires_at = moment  # two sign at a time, not more
        await session.flush()
        self.add(session, tenant, owner, endpoint, secret)
        await session.flush()
        return until

    async def prune(self, session: AsyncSession) -> None:
        """Remove those that sign no more."""
        await session.execute(delete(WebhookSecretRow).where(WebhookSecretRow.retires_at < now()))

    def _row(self, tenant: str, owner: str, endpoint: str | None, secret: bytes) -> WebhookSecretRow:
        name = uuid7()
        sealed = self._vault.seal(secret, sealed_as(TABLE, name))
        return WebhookSecretRow(
            id=name, tenant_id=tenant, owner=owner, endpoint_id=endpoint, sealed=sealed, created_at=now()
        )


def _whose(tenant: str, owner: str, endpoint: str | None) -> ColumnElement[bool]:
    if endpoint is not None:
        return WebhookSecretRow.endpoint_id == endpoint
    mine = (WebhookSecretRow.tenant_id == tenant) & (WebhookSecretRow.owner == owner)
    return mine & WebhookSecretRow.endpoint_id.is_(None)
