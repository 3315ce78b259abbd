"""Sessions: a login, its refresh tokens, its end.

A refresh token is used once. One that comes a second time was copied, by whom can't be known, so the session ends.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import Invalid, Missing, Reused, Unknown
from portico.storage.accounts import rules
from portico.storage.accounts.passwords import mark
from portico.storage.accounts.records import Person, Session
from portico.storage.audit import note, proved
from portico.storage.changes import SESSION, Changes
from portico.storage.database import Database
from portico.storage.ids import is_id, now, uuid7
from portico.storage.tables import PersonRow, RefreshRow, SessionRow

PREFIX: Final = "pr_"
LENGTH: Final = 46  # PREFIX and 32 bytes in base64url
REFRESH: Final = 30 * 86400.0  # seconds; the default of tokens.lifetime
ACCESS: Final = 3600.0
LONGEST: Final = 366 * 86400.0
LEEWAY: Final = timedelta(seconds=60)  # after its end an access token may pass for some time yet, where clocks differ
USED_KEPT: Final = 64  # used refresh tokens of a session that still betray a copy


class Sessions:
    """The repository of sessions."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def begin(
        self,
        person: Person,
        *,
        lifetime: float = REFRESH,
        access: float = ACCESS,
        agent: str = "",
        address: str = "",
    ) -> tuple[Session, str]:
        """A session of `lifetime` seconds, and its first refresh token.

        Access tokens live `access` seconds: the one that is now made for it ends at `tokens_until`. Missing when the
        person is disabled or gone, or has another password than when `person` was read.
        """
        if not 0 < lifetime <= LONGEST or access <= 0:
            raise Invalid("lifetime", "must be above 0 and at most 366 days")
        moment = now()
        end = moment + timedelta(seconds=lifetime)
        row = SessionRow(
            id=uuid7(),
            tenant_id=person.tenant,
            person_id=person.id,
            agent=_printable(agent, 200),
            address=_printable(address, 64),
            created_at=moment,
            used_at=moment,
            expires_at=end,
            tokens_until=min(end, moment + timedelta(seconds=access)),
            ended_at=None,
        )
        async with self._db.write() as session:
            owner = await session.get(PersonRow, person.id, with_for_update={"read": True})
            if owner is None or owner.disabled_at is not None or mark(owner.password) != person.mark:
                raise Missing("there is no such person who may come in")
            session.add(row)
            await session.flush()
            token = _token(session, row.id, moment)
            _recorded(session, "sessions.begin", row)
        return record(row), token

    async def refresh(self, token: str, *, access: float = ACCESS) -> tuple[Session, str]:
        """The session of a refresh token, and the next token; the given one is used up.

        Reused when it had been used before, which has ended the session; Unknown when it is not valid for any other
        reason: never made, or its session has ended or expired, or the person is disabled.
        """
        if len(token) != LENGTH or not token.isascii():
            raise Unknown("the refresh token is not valid")
        moment = now()
        async with self._db.write() as session:
            used = await session.get(RefreshRow, sha256(token.encode()).digest(), with_for_update=True)
            row = await _living(session, used.session_id, moment) if used is not None else None
            if used is not None and row is not None:
                if used.used_at is None:
                    used.used_at = moment
                    row.used_at = moment
                    row.tokens_until = min(row.expires_at, moment + timedelta(seconds=access))
                    following = _token(session, row.id, moment)
                    await _forget(session, row.id)
                    _recorded(session, "sessions.refresh", row)
                    return record(row), following
                _end(session, row, moment)
                _recorded(session, "sessions.end", row, cause="a used refresh token was shown again")
        # Outside, so that the session's end is committed.
        if used is None or row is None:
            raise Unknown("the refresh token is not valid")
        raise Reused("the refresh token had been used before, so its session was ended: log in again")

    async def get(self, id: str, tenant: str | None = None) -> Session | None:  # noqa: A002
        """The session with this id, ended or not."""
        if not is_id(id):
            return None
        async with self._db.read() as session:
            row = await session.scalar(_one(id, tenant))
        return record(row) if row is not None else None

    async def end(self, id: str, *, person: str | None = None, tenant: str | None = None) -> bool:  # noqa: A002
        """End a session (of `person` only, when given); whether there was one to end."""
        if not is_id(id):
            return False
        wanted = _one(id, tenant).where(SessionRow.ended_at.is_(None)).with_for_update()
        if person is not None:
            wanted = wanted.where(SessionRow.person_id == person)
        async with self._db.write() as session:
            row = await session.scalar(wanted)
            if row is not None:
                _end(session, row, now())
                _recorded(session, "sessions.end", row)
        return row is not None

    async def list(
        self, person: str, *, tenant: str | None = None, after: str | None = None, limit: int = rules.PAGE
    ) -> tuple[list[Session], str | None]:
        """A page of a person's sessions that go on, oldest first, and the cursor of the next."""
        limit = rules.page(after, limit)
        wanted = select(SessionRow).where(SessionRow.person_id == person, SessionRow.ended_at.is_(None))
        wanted = wanted.where(SessionRow.expires_at > now()).order_by(SessionRow.id).limit(limit + 1)
        if tenant is not None:
            wanted = wanted.where(SessionRow.tenant_id == tenant)
        if after is not None:
            wanted = wanted.where(SessionRow.id > after)
        if not is_id(person):
            return [], None
        async with self._db.read() as session:
            rows = (await session.scalars(wanted)).all()
        return [record(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def revoked(self) -> Sequence[tuple[str, datetime]]:
        """Sessions that have ended while an access token of theirs may still be taken: the id, and until when."""
        wanted = select(SessionRow.id, SessionRow.tokens_until)
        wanted = wanted.where(SessionRow.ended_at.is_not(None), SessionRow.tokens_until > now() - LEEWAY)
        async with self._db.read() as session:
            rows = (await session.execute(wanted.order_by(SessionRow.id))).all()
        return [(ended, until) for ended, until in rows]

    async def prune(self) -> int:
        """Remove sessions of which nothing is valid any more; how many."""
        moment = now()
        harmless = SessionRow.ended_at.is_(None) | (SessionRow.expires_at < moment - LEEWAY)
        over = delete(SessionRow).where(SessionRow.expires_at < moment, harmless)
        async with self._db.write() as session:
            return int((await session.execute(over)).rowcount)  # type: ignore[attr-defined]


async def end_all(session: AsyncSession, person: str, keep: str = "") -> None:
    """End every session of a person but `keep`."""
    wanted = select(SessionRow).where(SessionRow.person_id == person, SessionRow.ended_at.is_(None))
    moment = now()
    for row in (await session.scalars(wanted.where(SessionRow.id != keep).with_for_update())).all():
        _end(session, row, moment)


def _end(session: AsyncSession, row: SessionRow, moment: datetime) -> None:
    row.ended_at = moment
    Changes.append(session, SESSION, row.id, {"until": int(row.tokens_until.timestamp()) + 1})


def _recorded(session: AsyncSession, action: str, row: SessionRow, **more: str) -> None:
    """Record what was done to a session; a stranger who does it has just proved to be its person."""
    detail = {"person": row.person_id, **more}
    origin = proved(row.person_id)
    note(session, action, ("session", row.id), tenant=row.tenant_id, detail=detail, origin=origin)


def _token(session: AsyncSession, id: str, moment: datetime) -> str:  # noqa: A002
    """A new refresh token of the session."""
    token = PREFIX + secrets.token_urlsafe(32)
    session.add(RefreshRow(sha256=sha256(token.encode()).digest(), session_id=id, made_at=moment, used_at=None))
    return token


async def _living(session: AsyncSession, id: str, moment: datetime) -> SessionRow | None:  # noqa: A002
    wanted = select(SessionRow).join(PersonRow, PersonRow.id == SessionRow.person_id)
    wanted = wanted.where(SessionRow.id == id, SessionRow.ended_at.is_(None), SessionRow.expires_at > moment)
    wanted = wanted.where(PersonRow.disabled_at.is_(None)).with_for_update(of=SessionRow)
    return await session.scalar(wanted)


async def _forget(session: AsyncSession, id: str) -> None:  # noqa: A002
    """Keep only the last used tokens of a session."""
    await session.flush()
    used = select(RefreshRow.sha256).where(RefreshRow.session_id == id, RefreshRow.used_at.is_not(None))
    old = (await session.scalars(used.order_by(RefreshRow.used_at.desc()).offset(USED_KEPT))).all()
    if old:
        await session.execute(delete(RefreshRow).where(RefreshRow.sha256.in_(old)))


def _one(id: str, tenant: str | None) -> Select[SessionRow]:  # noqa: A002
    wanted = select(SessionRow).where(SessionRow.id == id)
    return wanted if tenant is None else wanted.where(SessionRow.tenant_id == tenant)


def _printable(text: str, most: int) -> str:
    """What a stranger has sent, without what does not print."""
    return "".join(character for character in text[: 2 * most] if character.isprintable())[:most]


def record(row: SessionRow) -> Session:
    """A row as others see it."""
    return Session(
        row.id,
        row.person_id,
        row.tenant_id,
        row.agent,
        row.address,
        row.created_at,
        row.used_at,
        row.expires_at,
        row.tokens_until,
        row.ended_at,
    )
