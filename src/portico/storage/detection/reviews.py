"""Texts that wait for a person: added, listed, decided, removed when they are old."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import Missing
from portico.storage.accounts import rules
from portico.storage.audit import note
from portico.storage.audit.events import clipped
from portico.storage.database import POSTGRESQL, Database
from portico.storage.detection.records import DECIDED, WAITING, AlreadyDecided, Decision, Doubt, Put, Review, Wanted
from portico.storage.ids import is_id, now, uuid7
from portico.storage.tables import ReviewRow, sealed_as

if TYPE_CHECKING:
    from portico.storage.vault import Vault

TABLE: Final = "detection_reviews"
CHUNK: Final = 500  # rows removed in one transaction
Key = tuple[str, bytes]  # tenant and MAC of a text


class Reviews:
    """The repository of reviews."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault
        self._key = vault.key("detection")

    async def put(self, doubts: Sequence[Doubt], most: int) -> list[Put]:
        """Keep texts until somebody decides, all in one transaction; what became of each.

        A text that its tenant has here already, decided or not, is counted there. Beyond `most` waiting ones of a
        tenant none is added.
        """
        keys = [(doubt.tenant, self._mac(doubt)) for doubt in doubts]
        async with self._db.write() as session:
            known = await _known(session, set(keys))
            room = {tenant: most - await _waiting(session, tenant) for tenant, _ in set(keys) - known}
            found: list[Put] = []
            fresh: dict[Key, dict[str, Any]] = {}
            for key, doubt in zip(keys, doubts, strict=True):
                if key in known or key in fresh:
                    found.append(Put.AGAIN)
                elif room[key[0]] <= 0:
                    found.append(Put.FULL)
                else:
                    room[key[0]] -= 1
                    fresh[key] = self._row(key, doubt)
                    found.append(Put.KEPT)
            again = Counter(key for key, put in zip(keys, found, strict=True) if put is Put.AGAIN)
            for key in sorted({*fresh, *again}):  # in one order, so that two processes can't block one another
                if key in fresh:
                    await session.execute(self._insert(fresh[key]))
                if key in again:
                    await session.execute(_count(key, again[key]))
        return found

    async def list(
        self, wanted: Wanted, after: str | None = None, limit: int = rules.PAGE
    ) -> tuple[list[Review], str | None]:
        """A page of reviews, oldest first, and the cursor of the next."""
        limit = rules.page(after, limit)
        asked = _asked(wanted).order_by(ReviewRow.id).limit(limit + 1)
        if after is not None:
            asked = asked.where(ReviewRow.id > after)
        async with self._db.read() as session:
            rows = (await session.scalars(asked)).all()
        return [self._record(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def get(self, tenant: str | None, id: str) -> Review:  # noqa: A002
        """One review; Missing when the tenant (None: any) has none of this id."""
        async with self._db.read() as session:
            return self._record(await _row(session, tenant, id))

    async def decide(
        self,
        tenant: str | None,
        id: str,  # noqa: A002
        made: Decision,
        *,
        overrule: bool = False,
        drop: bool = False,
    ) -> Review:
        """Write down what a person says; with `drop` the text is removed.

        Whoever has decided may decide otherwise. What another has decided the same way stays as it is; otherwise
        AlreadyDecided, unless they `overrule` it. Missing.
        """
        async with self._db.write() as session:
            row = await _row(session, tenant, id, lock=True)
            before = self._record(row)
            if before.decided_by not in ("", made.by):
                if before.decision == made.decision:
                    return before
                if not overrule:
                    raise AlreadyDecided(before)
            if _same(before, made):
                return before
            row.decision, row.threat_types, row.decided_by = made.decision, list(made.threat_types), made.by
            row.decided_at = now()
            row.sealed = self._seal(row.id, None if drop else before.text, made.note)
            detail = {"decision": made.decision, **({"before": before.decision} if before.decision else {})}
            note(session, "reviews.decide", ("review", row.id), tenant=row.tenant_id, detail=detail)
            return self._record(row)

    async def exported(self, tenant: str | None, detail: dict[str, Any]) -> None:
        """Record that texts are handed out, before the first is."""
        async with self._db.write() as session:
            note(session, "reviews.export", ("reviews", tenant or "*"), tenant=tenant or "", detail=detail)

    async def prune(self, before: datetime) -> int:
        """Remove what came before, decided or not, in small transactions; how many rows."""
        old = select(ReviewRow.id).where(ReviewRow.created_at < before).order_by(ReviewRow.created_at).limit(CHUNK)
        total = 0
        while True:
            async with self._db.write() as session:
                done = await session.execute(delete(ReviewRow).where(ReviewRow.id.in_(old)))
                count = int(done.rowcount)  # type: ignore[attr-defined]
            total += count
            if count < CHUNK:
                return total

    def _mac(self, doubt: Doubt) -> bytes:
        said = f"review\0{doubt.tenant}\0{doubt.text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, said, hashlib.sha256)

    def _row(self, key: Key, doubt: Doubt) -> dict[str, Any]:
        id_, moment = uuid7(), now()
        return {
            "id": id_,
            "tenant_id": doubt.tenant,
            "owner": clipped(doubt.owner, 300),
            "request_id": clipped(doubt.request_id, 128),
            "mac": key[1],
            "sealed": self._seal(id_, doubt.shown, ""),
            "characters": len(doubt.text),
            "why": doubt.why,
            "engine": doubt.engine,
            "threshold": doubt.threshold,
            "confidence": doubt.confidence,
            "times": 1,
            "created_at": moment,
            "last_at": moment,
            "decision": "",
            "threat_types": [],
            "decided_by": "",
            "decided_at": None,
        }

    def _insert(self, row: dict[str, Any]) -> Any:
        """Another process may add the same text at this moment."""
        insert: Any = postgresql.insert if self._db.dialect == POSTGRESQL else sqlite.insert
        more = {"times": ReviewRow.times + 1, "last_at": row["last_at"]}
        return insert(ReviewRow).values(row).on_conflict_do_update(index_elements=["tenant_id", "mac"], set_=more)

    def _seal(self, id: str, text: str | None, said: str) -> bytes:  # noqa: A002
        return self._vault.seal(json.dumps({"text": text, "note": said}).encode(), sealed_as(TABLE, id))

    def _record(self, row: ReviewRow) -> Review:
        held = json.loads(self._vault.unseal(row.sealed, sealed_as(TABLE, row.id)))
        return Review(
            id=row.id,
            tenant=row.tenant_id,
            owner=row.owner,
            request_id=row.request_id,
            text=held["text"],
            characters=row.characters,
            why=row.why,
            engine=row.engine,
            threshold=row.threshold,
            confidence=row.confidence,
            times=row.times,
            created_at=row.created_at,
            last_at=row.last_at,
            decision=row.decision,
            threat_types=tuple(row.threat_types),
            note=held["note"],
            decided_by=row.decided_by,
            decided_at=row.decided_at,
        )


def _same(before: Review, made: Decision) -> bool:
    """Whether nothing would change, so that the first decision's time stays."""
    said = (before.decision, before.note, before.threat_types, before.decided_by)
    return said == (made.decision, made.note, made.threat_types, made.by)


async def _known(session: AsyncSession, keys: set[Key]) -> set[Key]:
    both = tuple_(ReviewRow.tenant_id, ReviewRow.mac)
    rows = await session.execute(select(ReviewRow.tenant_id, ReviewRow.mac).where(both.in_(keys)))
    return {(str(tenant), bytes(mac)) for tenant, mac in rows}


async def _waiting(session: AsyncSession, tenant: str) -> int:
    waiting = (ReviewRow.tenant_id == tenant) & ReviewRow.decided_at.is_(None)
    return await session.scalar(select(func.count()).select_from(ReviewRow).where(waiting)) or 0


def _count(key: Key, times: int) -> Any:
    same = (ReviewRow.tenant_id == key[0]) & (ReviewRow.mac == key[1])
    return update(ReviewRow).where(same).values(times=ReviewRow.times + times, last_at=now())


def _asked(wanted: Wanted) -> Select[ReviewRow]:
    asked = select(ReviewRow)
    if wanted.tenant is not None:
        asked = asked.where(ReviewRow.tenant_id == wanted.tenant)
    if wanted.state == WAITING:
        asked = asked.where(ReviewRow.decided_at.is_(None))
    elif wanted.state == DECIDED:
        asked = asked.where(ReviewRow.decided_at.is_not(None))
    if wanted.decision:
        asked = asked.where(ReviewRow.decision == wanted.decision)
    if wanted.why:
        asked = asked.where(ReviewRow.why == wanted.why)
    return asked


async def _row(session: AsyncSession, tenant: str | None, id: str, *, lock: bool = False) -> ReviewRow:  # noqa: A002
    wanted = select(ReviewRow).where(ReviewRow.id == id)
    if tenant is not None:
        wanted = wanted.where(ReviewRow.tenant_id == tenant)
    row = await session.scalar(wanted.with_for_update() if lock else wanted) if is_id(id) else None
    if row is None:
        raise Missing("there is no such review")
    return row
