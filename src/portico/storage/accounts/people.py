"""People: who they are, their roles, their password, whether they may come in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import Invalid, Missing, Taken
from portico.storage.accounts import keys, rules, sessions
from portico.storage.accounts.passwords import Passwords, mark
from portico.storage.accounts.records import TENANT, Person
from portico.storage.audit import note
from portico.storage.changes import PERSON, Changes
from portico.storage.database import Database
from portico.storage.ids import is_id, now, uuid7
from portico.storage.tables import MarkRow, PersonRow

ADMINISTRATOR: Final = "administrator"
FIRST: Final = "first_administrator"


class People:
    """The repository of people. Passwords are checked outside of transactions."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._passwords = Passwords()

    def close(self) -> None:
        """End the threads that check passwords."""
        self._passwords.close()

    async def create(
        self,
        email: str,
        password: str | None = None,
        roles: Iterable[str] = ("user",),
        tenant: str = TENANT,
        name: str = "",
    ) -> Person:
        """A new person; with an `email` of "" a holder of tokens that is none. Taken when the address is in use."""
        row = make(email, roles, tenant, name)
        if password is not None:
            if not row.email:
                raise Invalid("password", "goes with an e-mail address")
            row.password = await self.hashed(password)
        async with self._db.write() as session:
            await insert(session, row)
            recorded(session, row)
        return record(row)

    async def hashed(self, password: str) -> str:
        """What is kept of a new password; Invalid when it can't be one, Busy when too many are being checked."""
        return await self._passwords.hash(rules.password(password))

    async def first_administrator(self) -> Person | None:
        """The administrator of a new gateway, once: None at every later call, in whichever process.

        It has no address and no password, and is a holder of tokens and keys.
        """
        async with self._db.read() as session:
            if await session.get(MarkRow, FIRST) is not None:
                return None
        row = make("", ("admin",), TENANT, ADMINISTRATOR)
        try:
            async with self._db.write() as session:
                session.add(MarkRow(name=FIRST, at=now()))
                await session.flush()
                await insert(session, row)
                recorded(session, row)
        except IntegrityError:  # another process was quicker
            return None
        return record(row)

    async def get(self, id: str, tenant: str | None = None) -> Person | None:  # noqa: A002
        """The person with this id."""
        return await self._one(PersonRow.id == id, tenant) if is_id(id) else None

    async def by_email(self, email: str, tenant: str | None = None) -> Person | None:
        """The person with this address, in any case of letters."""
        try:
            wanted = rules.email(email)
        except Invalid:
            return None
        return await self._one(PersonRow.email == wanted, tenant)

    async def list(
        self, *, tenant: str | None = None, after: str | None = None, limit: int = rules.PAGE
    ) -> tuple[list[Person], str | None]:
        """A page of people, oldest first, and the cursor of the next."""
        limit = rules.page(after, limit)
        wanted = select(PersonRow).order_by(PersonRow.id).limit(limit + 1)
        if tenant is not None:
            wanted = wanted.where(PersonRow.tenant_id == tenant)
        if after is not None:
            wanted = wanted.where(PersonRow.id > after)
        async with self._db.read() as session:
            rows = (await session.scalars(wanted)).all()
        return [record(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def count(self, tenant: str | None) -> int:
        """How many there are, disabled ones too."""
        wanted = select(func.count()).select_from(PersonRow)
        async with self._db.read() as session:
            return await session.scalar(wanted if tenant is None else wanted.where(PersonRow.tenant_id == tenant)) or 0

    async def update(
        self,
        id: str,  # noqa: A002
        *,
        roles: Iterable[str] | None = None,
        disabled: bool | None = None,
        name: str | None = None,
        password: str | None = None,
        keep: str = "",
        tenant: str | None = None,
    ) -> Person:
        """Change what is given, all of it or nothing. Missing when there is no such person.

        Other roles make access tokens void that were made before; disabling ends sessions too, and the person's keys
        don't work until it is undone. A password, as to be typed, ends the sessions but `keep`.
        """
        kept = None if password is None else await self.hashed(password)
        async with self._db.write() as session:
            row = await _locked(session, id, tenant)
            changed: dict[str, Any] = {}
            if kept is not None:
                await _set_password(session, row, kept, keep)
                changed["password"] = "new"
            if name is not None:
                changed["name"] = row.name = rules.text("name", name)
            if roles is not None:
                changed["roles"] = _give_roles(session, row, rules.names("roles", roles))
            if disabled is not None and disabled != (row.disabled_at is not None):
                changed["disabled"] = disabled
                row.disabled_at = now() if disabled else None
                _void_tokens(session, row)
                if disabled:
                    await sessions.end_all(session, row.id)
                await keys.owned(session, row.id, "gone" if disabled else "added")
            if changed:
                note(session, "people.change", ("person", row.id), tenant=row.tenant_id, detail=changed)
        return record(row)

    async def set_password(
        self,
        id: str,  # noqa: A002
        password: str,
        *,
        keep: str = "",
        tenant: str | None = None,
    ) -> None:
        """A new password; ends the person's sessions but `keep`. Missing when there is no such person."""
        await self.update(id, password=password, keep=keep, tenant=tenant)

    async def verify_password(self, email: str, password: str) -> Person | None:
        """The person whose address and password these are, unless disabled.

        A wrong password, an unknown address, a person without a password or one disabled: None, after the same time.
        Busy when too many are being checked.
        """
        try:
            address = rules.email(email)
        except Invalid:
            address = ""
        async with self._db.read() as session:
            row = await session.scalar(select(PersonRow).where(PersonRow.email == address))
        if not rules.encodable(password) or len(password) > rules.PASSWORD_MOST:
            password = ""
        kept = row.password if row is not None else None
        right = await self._passwords.verify(kept, password)
        if row is None or kept is None or not right or row.disabled_at is not None:
            return None
        if self._passwords.outdated(kept):
            row.password = await self._rehash(row.id, kept, password)
        return record(row)

    async def voided(self, since: datetime) -> Sequence[tuple[str, datetime]]:
        """Who has access tokens made void after `since`, and before when they must have been made for that."""
        wanted = select(PersonRow.id, PersonRow.tokens_from).where(PersonRow.tokens_from >= since)
        async with self._db.read() as session:
            rows = (await session.execute(wanted.order_by(PersonRow.id))).all()
        return [(person, moment) for person, moment in rows if moment is not None]

    async def _one(self, which: ColumnElement[bool], tenant: str | None) -> Person | None:
        async with self._db.read() as session:
            row = await session.scalar(_within(select(PersonRow).where(which), tenant))
        return record(row) if row is not None else None

    async def _rehash(self, id: str, old: str, password: str) -> str:  # noqa: A002
        """Keep the password by today's parameters, unless it is another one by now; answers what was kept of this."""
        kept = await self._passwords.hash(password)
        async with self._db.write() as session:
            row = await session.get(PersonRow, id, with_for_update=True)
            if row is None or row.password != old:
                return old
            row.password = kept
        return kept


def make(email: str, roles: Iterable[str], tenant: str, name: str) -> PersonRow:
    """The row of a new person, not in the database yet. Invalid names what can't be."""
    address = rules.email(email) if email else None
    return PersonRow(
        id=uuid7(),
        tenant_id=rules.name("tenant", tenant),
        email=address,
        name=rules.text("name", name or address or ""),
        roles=rules.names("roles", roles),
        password=None,
        created_at=now(),
        disabled_at=None,
        tokens_from=None,
    )


async def insert(session: AsyncSession, row: PersonRow) -> None:
    """Add a row of `make`; Taken when its address is someone's."""
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        raise Taken("the e-mail address belongs to someone already") from None


def recorded(session: AsyncSession, row: PersonRow) -> None:
    """Record that a person was created."""
    detail = {"name": row.name, "email": row.email, "roles": row.roles}
    note(session, "people.create", ("person", row.id), tenant=row.tenant_id, detail=detail)


async def _set_password(session: AsyncSession, row: PersonRow, kept: str, keep: str) -> None:
    if not row.email:
        raise Invalid("password", "goes with an e-mail address")
    row.password = kept
    await sessions.end_all(session, row.id, keep)


def _give_roles(session: AsyncSession, row: PersonRow, wanted: list[str]) -> dict[str, list[str]]:
    """Set the roles; which they were and are."""
    before = row.roles
    if set(wanted) != set(before):
        _void_tokens(session, row)
    row.roles = wanted
    return {"from": before, "to": wanted}


async def _locked(session: AsyncSession, id: str, tenant: str | None) -> PersonRow:  # noqa: A002
    wanted = _within(select(PersonRow).where(PersonRow.id == id), tenant).with_for_update()
    row = await session.scalar(wanted) if is_id(id) else None
    if row is None:
        raise Missing("there is no such person")
    return row


def _void_tokens(session: AsyncSession, row: PersonRow) -> None:
    """Whole seconds, as `iat` has them, and the next: a token of this very second is void as well."""
    row.tokens_from = datetime.fromtimestamp(math.floor(now().timestamp()) + 1, UTC)
    Changes.append(session, PERSON, row.id, {"tokens_from": int(row.tokens_from.timestamp())})


def _within(wanted: Select[PersonRow], tenant: str | None) -> Select[PersonRow]:
    return wanted if tenant is None else wanted.where(PersonRow.tenant_id == tenant)


def record(row: PersonRow) -> Person:
    """A row as others see it."""
    return Person(
        row.id,
        row.email or "",
        row.name,
        tuple(row.roles),
        row.tenant_id,
        row.disabled_at is not None,
        row.password is not None,
        row.created_at,
        row.tokens_from,
        mark(row.password),
    )
