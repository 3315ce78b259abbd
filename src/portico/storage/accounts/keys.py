"""API keys: issued once, found by their SHA-256, rotated with grace, revoked at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, LargeBinary, Select, bindparam, func, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import Invalid, Missing, Taken
from portico.identity import apikeys
from portico.storage.accounts import rules
from portico.storage.accounts.records import KeyRecord, NewKey
from portico.storage.audit import note as audit
from portico.storage.changes import KEY, Changes
from portico.storage.database import POSTGRESQL, Database
from portico.storage.ids import first, is_id, now, uuid7
from portico.storage.tables import KeyRow, PersonRow
from portico.storage.tables.base import Time

PER_MINUTE: Final = 60
PER_DAY: Final = 10_000
GRACE_MOST: Final = 30 * 86400.0  # seconds
INHERITED: Final = (
    *("tenant_id", "owner_id", "name", "permissions", "networks"),
    *("per_minute", "per_day", "window", "rate", "burst", "quota", "expires_at"),
)  # by a key's successor
CHUNK: Final = 200_000  # prefixes that are fetched at a time


class Keys:
    """The repository of API keys. A mutation and the change that tells of it are one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def issue(self, new: NewKey) -> tuple[KeyRecord, str]:
        """A new key and the key itself, which is nowhere to be had again. Invalid names what can't be."""
        row, key = make(new)
        async with self._db.write() as session:
            await insert(session, row)
            recorded(session, "keys.create", row)
        return record(row), key

    async def find(self, sha256: bytes) -> KeyRecord | None:
        """The key with this hash if it may be used now: not revoked, not expired, its owner not disabled."""
        wanted = select(KeyRow).where(KeyRow.sha256 == sha256, _living(now()))
        wanted = wanted.outerjoin(PersonRow, PersonRow.id == KeyRow.owner_id).where(PersonRow.disabled_at.is_(None))
        async with self._db.read() as session:
            row = await session.scalar(wanted)
        return record(row) if row is not None else None

    async def get(self, id: str, tenant: str | None = None) -> KeyRecord | None:  # noqa: A002
        """The key with this id, usable or not."""
        if not is_id(id):
            return None
        async with self._db.read() as session:
            row = await session.scalar(_one(id, tenant))
        return record(row) if row is not None else None

    async def list(
        self,
        *,
        tenant: str | None = None,
        owner: str | None = None,
        active: bool = False,
        after: str | None = None,
        limit: int = rules.PAGE,
    ) -> tuple[list[KeyRecord], str | None]:
        """A page of keys, oldest first, and the cursor of the next; `active` leaves out revoked and expired ones."""
        limit = rules.page(after, limit)
        wanted = select(KeyRow).order_by(KeyRow.id).limit(limit + 1)
        if tenant is not None:
            wanted = wanted.where(KeyRow.tenant_id == tenant)
        if owner is not None:
            wanted = wanted.where(KeyRow.owner_id == owner)
        if active:
            wanted = wanted.where(_living(now()))
        if after is not None:
            wanted = wanted.where(KeyRow.id > after)
        async with self._db.read() as session:
            rows = (await session.scalars(wanted)).all()
        return [record(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def count(self, tenant: str | None, since: datetime, until: datetime) -> tuple[int, int]:
        """How many may be used now, and how many were issued from `since` to `until`."""
        mine = () if tenant is None else (KeyRow.tenant_id == tenant,)
        living = select(func.count()).select_from(KeyRow).where(*mine, _living(now()))
        # Ids sort by the time at which they were made.
        new = select(func.count()).select_from(KeyRow).where(*mine, KeyRow.id >= first(since), KeyRow.id < first(until))
        async with self._db.read() as session:
            return await session.scalar(living) or 0, await session.scalar(new) or 0

    async def rotate(self, id: str, grace: float, tenant: str | None = None) -> tuple[KeyRecord, str]:  # noqa: A002
        """A successor with a new id and the same rights and limits; the old key works for `grace` seconds more.

        Missing when there is no such usable key, Taken when it has a successor already.
        """
        if not 0 <= grace <= GRACE_MOST:
            raise Invalid("grace", "must be from 0 seconds to 30 days")
        async with self._db.write() as session:
            moment = now()
            old = await session.scalar(_one(id, tenant).where(_living(moment)).with_for_update()) if is_id(id) else None
            if old is None:
                raise Missing("there is no such key that works")
            row, key = _successor(old, moment)
            end = moment + timedelta(seconds=grace)
            old.expires_at = end if old.expires_at is None else min(end, old.expires_at)
            try:
                await insert(session, row)
            except IntegrityError:
                raise Taken("the key has been rotated before; rotate its successor") from None
            note(session, old, "changed" if grace else "gone")
            detail = {"replaces": old.id, "grace": grace}
            audit(session, "keys.rotate", ("key", row.id), tenant=row.tenant_id, detail=detail)
        return record(row), key

    async def revoke(self, id: str, tenant: str | None = None) -> bool:  # noqa: A002
        """End a key, and those before it in their grace; whether there was one to end."""
        if not is_id(id):
            return False
        async with self._db.write() as session:
            moment = now()
            row = await session.scalar(_one(id, tenant).with_for_update())
            found = row is not None and row.revoked_at is None
            if row is not None and found:
                audit(session, "keys.revoke", ("key", row.id), tenant=row.tenant_id, detail={"name": row.name})
            while row is not None:
                if row.revoked_at is None:
                    row.revoked_at = moment
                    note(session, row, "gone")
                before = _one(row.replaces, row.tenant_id).with_for_update() if row.replaces else None
                row = await session.scalar(before) if before is not None else None
        return found

    async def used(self, times: Mapping[str, datetime]) -> None:
        """Note when keys were last used; an earlier time than the noted one changes nothing."""
        known = {key: time for key, time in sorted(times.items()) if is_id(key)}
        if not known:
            return
        earlier = or_(KeyRow.last_used_at.is_(None), KeyRow.last_used_at < bindparam("at", type_=Time))
        statement = update(KeyRow.__table__).where(KeyRow.id == bindparam("key"), earlier)  # type: ignore[arg-type]
        statement = statement.values(last_used_at=bindparam("at", type_=Time))
        async with self._db.write() as session:
            await session.execute(statement, [{"key": key, "at": time} for key, time in known.items()])

    async def prefixes(self) -> bytes:
        """The first 8 bytes of the hash of every key that may still work, sorted, one after the other."""
        if self._db.dialect == POSTGRESQL:
            living = select(KeyRow.sha256).where(_living(now())).order_by(KeyRow.sha256).subquery()
            joined = func.string_agg(func.substr(living.c.sha256, 1, 8), text("''::bytea"), type_=LargeBinary)
            async with self._db.read() as session:
                return bytes(await session.scalar(select(joined)) or b"")
        parts: list[bytes] = []
        last = b""
        while True:
            part, last = await self._prefixes(last)
            if not part:
                return b"".join(parts)
            parts.append(part)

    async def _prefixes(self, after: bytes) -> tuple[bytes, bytes]:
        """SQLite's next CHUNK of prefixes behind the hash `after`, and the last hash among them.

        One value instead of a row for each key: the database joins them much faster than Python could.
        """
        wanted = select(KeyRow.sha256).where(KeyRow.sha256 > after, _living(now()))
        chunk = wanted.order_by(KeyRow.sha256).limit(CHUNK).subquery()
        joined = func.group_concat(func.hex(func.substr(chunk.c.sha256, 1, 8)), "")
        async with self._db.read() as session:
            prefixes, last = (await session.execute(select(joined, func.max(chunk.c.sha256)))).one()
        return bytes.fromhex(prefixes or ""), last or b""


def make(new: NewKey) -> tuple[KeyRow, str]:
    """The row of a new key, not in the database yet, and the key. Invalid names what can't be."""
    moment = now()
    window, limit, quota = rules.rate("window", new.window), rules.rate("rate", new.rate), rules.quota(new.quota)
    if new.owner and not is_id(new.owner):
        raise Invalid("owner", "must be the id of a person")
    if new.burst and not limit:
        raise Invalid("burst", "goes with rate only")
    row = KeyRow(
        tenant_id=rules.name("tenant", new.tenant),
        owner_id=new.owner or None,
        name=rules.text("name", new.name),
        permissions=rules.permissions(new.permissions),
        networks=rules.networks(new.networks),
        per_minute=rules.count("per_minute", new.per_minute, 0 if window or limit else PER_MINUTE),
        per_day=rules.count("per_day", new.per_day, 0 if quota else PER_DAY),
        window=window,
        rate=limit,
        burst=rules.count("burst", new.burst, 0),
        quota=quota,
        expires_at=rules.moment("expires_at", new.expires_at, moment),
        replaces=None,
        family=None,
    )
    return row, _with_key(row, moment)


def _successor(old: KeyRow, moment: datetime) -> tuple[KeyRow, str]:
    row = KeyRow(replaces=old.id, family=old.family or old.id, **{field: getattr(old, field) for field in INHERITED})
    return row, _with_key(row, moment)


def _with_key(row: KeyRow, moment: datetime) -> str:
    key = apikeys.generate()
    row.id = uuid7()
    row.sha256 = apikeys.digest(key.encode())
    row.hint = apikeys.hint(key)
    row.created_at = moment
    row.revoked_at = row.last_used_at = None
    return key


async def insert(session: AsyncSession, row: KeyRow) -> None:
    """Add a row of `make`; Missing when its owner is not there, or is another tenant's."""
    if row.owner_id is not None:
        owner = await session.get(PersonRow, row.owner_id)
        if owner is None or owner.tenant_id != row.tenant_id:
            raise Missing("there is no such person to own the key")
    session.add(row)
    await session.flush()
    note(session, row, "added")


def recorded(session: AsyncSession, action: str, row: KeyRow, **more: Any) -> None:
    """Record that a key was made."""
    detail = {
        "name": row.name,
        "owner": row.owner_id,
        "permissions": row.permissions,
        "networks": row.networks,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        **more,
    }
    audit(session, action, ("key", row.id), tenant=row.tenant_id, detail=detail)


def note(session: AsyncSession, row: KeyRow, op: str) -> None:
    """Tell of a key that was `added`, `changed` or is `gone`."""
    Changes.append(session, KEY, row.id, {"op": op, "sha256": row.sha256.hex()})


async def owned(session: AsyncSession, person: str, op: str) -> None:
    """Tell of every usable key of a person whose standing has changed."""
    rows: Sequence[KeyRow] = (
        await session.scalars(select(KeyRow).where(KeyRow.owner_id == person, _living(now())))
    ).all()
    for row in rows:
        note(session, row, op)


def record(row: KeyRow) -> KeyRecord:
    """A row as others see it."""
    moment = now()
    return KeyRecord(
        row.id,
        row.name,
        row.owner_id or "",
        row.tenant_id,
        tuple(row.permissions),
        row.per_minute,
        row.per_day,
        row.window,
        row.rate,
        row.burst,
        row.quota,
        tuple(row.networks),
        row.expires_at,
        row.created_at,
        row.last_used_at,
        row.revoked_at is None and (row.expires_at is None or row.expires_at > moment),
        row.sha256,
        row.hint,
        row.replaces,
        row.family or row.id,
    )


def _living(moment: datetime) -> ColumnElement[bool]:
    return KeyRow.revoked_at.is_(None) & or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > moment)


def _one(id: str, tenant: str | None) -> Select[KeyRow]:  # noqa: A002
    wanted = select(KeyRow).where(KeyRow.id == id)
    return wanted if tenant is None else wanted.where(KeyRow.tenant_id == tenant)
