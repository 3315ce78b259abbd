"""Invitations: leave to register, once, until a day."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import Invalid, Unknown
from portico.storage.accounts import keys, people, rules
from portico.storage.accounts.records import TENANT, Invitation, KeyRecord, NewKey
from portico.storage.audit import note
from portico.storage.database import Database
from portico.storage.ids import is_id, now, uuid7
from portico.storage.tables import InvitationRow, KeyRow, PersonRow

PREFIX: Final = "pi_"
LENGTH: Final = 46  # PREFIX and 32 bytes in base64url
LIFETIME: Final = 7 * 86400.0  # seconds
LONGEST: Final = 366 * 86400.0


class Invitations:
    """The repository of invitations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(
        self,
        *,
        created_by: str = "",
        tenant: str = TENANT,
        email: str = "",
        roles: Iterable[str] = ("user",),
        permissions: Iterable[str] = (),
        lifetime: float = LIFETIME,
    ) -> tuple[Invitation, str]:
        """An invitation and its token, which is nowhere to be had again."""
        if not 0 < lifetime <= LONGEST:
            raise Invalid("lifetime", "must be above 0 and at most 366 days")
        moment = now()
        token = PREFIX + secrets.token_urlsafe(32)
        row = InvitationRow(
            id=uuid7(),
            tenant_id=rules.name("tenant", tenant),
            sha256=_digest(token),
            email=rules.email(email) if email else "",
            roles=rules.names("roles", roles),
            permissions=rules.permissions(permissions),
            created_by=created_by if is_id(created_by) else "",
            created_at=moment,
            expires_at=moment + timedelta(seconds=lifetime),
            used_at=None,
        )
        async with self._db.write() as session:
            session.add(row)
            detail = {"email": row.email, "roles": row.roles, "permissions": row.permissions}
            note(session, "invitations.create", ("invitation", row.id), tenant=row.tenant_id, detail=detail)
        return record(row), token

    async def find(self, token: str) -> Invitation:
        """An invitation that can be used. Unknown when `redeem` would say so."""
        async with self._db.read() as session:
            row = await session.scalar(select(InvitationRow).where(_usable(token, now())))
            return await _welcome(session, row)

    async def redeem(self, token: str) -> Invitation:
        """Use an invitation up.

        Unknown when it was never made, is used up, has expired, or whoever made it has been disabled: all alike.
        """
        async with self._db.write() as session:
            invitation = await _redeem(session, token)
            note(session, "invitations.redeem", ("invitation", invitation.id), tenant=invitation.tenant)
            return invitation

    async def register(
        self, token: str, new: NewKey, *, email: str = "", password: str | None = None
    ) -> tuple[KeyRecord, str]:
        """Use an invitation up for a key, and with an `email` for a person who owns it; all of it or nothing.

        Tenant, permissions and roles are the invitation's. `password` is as `People.hashed` answers it. Unknown as from
        `redeem`; Taken when the address is someone's.
        """
        async with self._db.write() as session:
            invitation = await _redeem(session, token)
            rights = replace(new, tenant=invitation.tenant, permissions=invitation.permissions)
            row, key = await _enrol(session, rights, email, password, invitation.roles)
            keys.recorded(session, "keys.register", row, invitation=invitation.id)
        return keys.record(row), key

    async def enrol(
        self, new: NewKey, *, email: str = "", password: str | None = None, roles: Iterable[str] = ("user",)
    ) -> tuple[KeyRecord, str]:
        """A key without an invitation, and with an `email` a person who owns it; all of it or nothing.

        `password` is as `People.hashed` answers it. Taken when the address is someone's.
        """
        async with self._db.write() as session:
            row, key = await _enrol(session, new, email, password, roles)
            keys.recorded(session, "keys.register", row)
        return keys.record(row), key

    async def list(
        self, *, tenant: str | None = None, after: str | None = None, limit: int = rules.PAGE
    ) -> tuple[list[Invitation], str | None]:
        """A page of the invitations that can still be used, oldest first, and the cursor of the next."""
        limit = rules.page(after, limit)
        wanted = select(InvitationRow).where(InvitationRow.used_at.is_(None), InvitationRow.expires_at > now())
        wanted = wanted.order_by(InvitationRow.id).limit(limit + 1)
        if tenant is not None:
            wanted = wanted.where(InvitationRow.tenant_id == tenant)
        if after is not None:
            wanted = wanted.where(InvitationRow.id > after)
        async with self._db.read() as session:
            rows = (await session.scalars(wanted)).all()
        return [record(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def prune(self) -> int:
        """Remove those that expired more than a week ago; how many."""
        over = delete(InvitationRow).where(InvitationRow.expires_at < now() - timedelta(days=7))
        async with self._db.write() as session:
            return int((await session.execute(over)).rowcount)  # type: ignore[attr-defined]


async def _enrol(
    session: AsyncSession, new: NewKey, email: str, password: str | None, roles: Iterable[str]
) -> tuple[KeyRow, str]:
    """A new key, and its owner when there is an address."""
    owner = ""
    if email:
        person = people.make(email, roles, new.tenant, "")
        person.password = password
        await people.insert(session, person)
        owner = person.id
    row, key = keys.make(replace(new, owner=owner))
    await keys.insert(session, row)
    return row, key


async def _redeem(session: AsyncSession, token: str) -> Invitation:
    moment = now()
    use = update(InvitationRow).where(_usable(token, moment)).values(used_at=moment)
    return await _welcome(session, await session.scalar(use.returning(InvitationRow)))


def _usable(token: str, moment: datetime) -> ColumnElement[bool]:
    if len(token) != LENGTH or not token.isascii():
        raise _unknown()
    unused = InvitationRow.used_at.is_(None) & (InvitationRow.expires_at > moment)
    return (InvitationRow.sha256 == _digest(token)) & unused


async def _welcome(session: AsyncSession, row: InvitationRow | None) -> Invitation:
    """The invitation, unless whoever made it is disabled, or the owner of the key that made it is."""
    if row is None:
        raise _unknown()
    if row.created_by:
        owner = select(KeyRow.owner_id).where(KeyRow.id == row.created_by).scalar_subquery()
        maker = (PersonRow.id == row.created_by) | (PersonRow.id == owner)
        if await session.scalar(select(PersonRow.id).where(maker, PersonRow.disabled_at.is_not(None))) is not None:
            raise _unknown()
    return record(row)


def _unknown() -> Unknown:
    return Unknown("the invitation is not valid")


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def record(row: InvitationRow) -> Invitation:
    """A row as others see it."""
    return Invitation(
        row.id,
        row.tenant_id,
        row.email,
        tuple(row.roles),
        tuple(row.permissions),
        row.created_by,
        row.created_at,
        row.expires_at,
        row.used_at,
    )
