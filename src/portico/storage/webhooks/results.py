"""What came of attempts, written many at a time, and what follows for the endpoint; and what is too old to keep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, bindparam, case, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from portico.storage.audit import Origin, note
from portico.storage.database import Database
from portico.storage.ids import now
from portico.storage.tables import DeliveryRow, EndpointRow, WebhookAttemptRow
from portico.storage.tables.base import Time
from portico.storage.webhooks.records import FAILED, PENDING, REQUEST, SUCCEEDED, Result
from portico.storage.webhooks.secrets import Secrets

CHUNK: Final = 500  # rows removed in one transaction
_DELIVERIES: Final[Table] = DeliveryRow.__table__  # type: ignore[assignment]
_ATTEMPTS: Final[Table] = WebhookAttemptRow.__table__  # type: ignore[assignment]
# One that has succeeded meanwhile, sent by another worker as well, stays so.
_UPDATE: Final = (
    update(_DELIVERIES)
    .where(_DELIVERIES.c.id == bindparam("b_id"), _DELIVERIES.c.state != SUCCEEDED)
    .values(
        state=bindparam("b_state"),
        attempts=bindparam("b_number"),
        step=bindparam("b_step"),
        next_at=bindparam("b_next", type_=Time),
        ended_at=bindparam("b_ended", type_=Time),
    )
)


class Results:
    """Writes what came of attempts."""

    def __init__(self, db: Database, secrets: Secrets) -> None:
        self._db = db
        self._secrets = secrets

    async def write(self, session: AsyncSession, endpoint: str, results: Sequence[Result]) -> bool:
        """Attempts, their deliveries and the endpoint's numbers, in the caller's transaction.

        Answers whether the endpoint still wants more: it is neither disabled nor removed.
        """
        moment = now()
        known = await _known(session, results)
        rows = [_attempt(each, known.get(each.delivery, 0)) for each in results if each.delivery in known]
        if not rows:
            return False
        await session.execute(insert(_ATTEMPTS), rows)
        connection = await session.connection()
        await connection.execute(
            _UPDATE,
            [
                {
                    "b_id": each.delivery,
                    "b_state": each.state,
                    "b_number": known[each.delivery] + 1,
                    "b_step": each.step,
                    "b_next": each.next_at,
                    "b_ended": None if each.state == PENDING else moment,
                }
                for each in results
                if each.delivery in known
            ],
        )
        living = EndpointRow.deleted_at.is_(None) & EndpointRow.disabled_at.is_(None)
        return bool(await session.scalar(_numbers(endpoint, results, moment).returning(living)))

    async def disable(self, session: AsyncSession, endpoint: str, why: str) -> bool:
        """Send nothing more to it; whether it was not disabled before. What waits has failed."""
        moment = now()
        wanted = select(EndpointRow).where(EndpointRow.id == endpoint).with_for_update()
        row = await session.scalar(wanted)
        if row is None or row.disabled_at is not None:
            return False
        row.disabled_at, row.disabled_for, row.pending = moment, why, 0
        row.wake = row.wake_at = None
        note(
            session, "webhooks.disable", ("webhook", row.id), tenant=row.tenant_id, detail={"why": why}, origin=Origin()
        )
        waiting = update(DeliveryRow).where(DeliveryRow.endpoint_id == endpoint, DeliveryRow.next_at.is_not(None))
        await session.execute(waiting.values(state=FAILED, next_at=None, ended_at=moment))
        return True

    async def prune(self, before: datetime) -> int:
        """Remove deliveries that ended before, removed endpoints, and secrets that sign no more; how many rows.

        In small transactions, so that others write between them.
        """
        async with self._db.write() as session:
            await self._secrets.prune(session)
        gone = select(EndpointRow.id).where(EndpointRow.deleted_at.is_not(None))
        old = select(DeliveryRow.id).where(DeliveryRow.ended_at < before)
        ended = select(DeliveryRow.id).where(DeliveryRow.endpoint_id.in_(gone))
        count = await self._remove(old) + await self._remove(ended)
        there = exists().where(DeliveryRow.endpoint_id == EndpointRow.id)
        unused = (EndpointRow.kind == REQUEST) & (EndpointRow.created_at < before)
        done = delete(EndpointRow).where(EndpointRow.deleted_at.is_not(None) | unused, ~there)
        async with self._db.write() as session:
            return count + int((await session.execute(done)).rowcount)  # type: ignore[attr-defined]

    async def _remove(self, wanted: Any) -> int:
        total = 0
        while True:
            async with self._db.write() as session:
                done = await session.execute(delete(DeliveryRow).where(DeliveryRow.id.in_(wanted.limit(CHUNK))))
                count = int(done.rowcount)  # type: ignore[attr-defined]
            total += count
            if count < CHUNK:
                return total


async def _known(session: AsyncSession, results: Sequence[Result]) -> dict[str, int]:
    """The deliveries that are still there, with the attempts that are written of each."""
    ids = [each.delivery for each in results]
    found = await session.execute(select(DeliveryRow.id, DeliveryRow.attempts).where(DeliveryRow.id.in_(ids)))
    return {str(row[0]): int(row[1]) for row in found}


def _attempt(result: Result, before: int) -> dict[str, Any]:
    return {
        "delivery_id": result.delivery,
        "number": before + 1,
        "at": result.at,
        "http_status": result.http_status,
        "response_body": result.response_body,
        "seconds": result.seconds,
        "error": result.error,
    }


def _numbers(endpoint: str, results: Sequence[Result], moment: datetime) -> Any:
    good = sum(each.succeeded for each in results)
    bad = len(results) - good
    over = sum(each.state != PENDING for each in results)
    values: dict[str, Any] = {
        "delivered": EndpointRow.delivered + good,
        "failed": EndpointRow.failed + bad,
        "seconds": EndpointRow.seconds + sum(each.seconds for each in results),
        "pending": case((EndpointRow.pending > over, EndpointRow.pending - over), else_=0),
    }
    if good:
        values |= {"last_success_at": moment, "failing_since": None}
    elif bad:
        began = case(
            (EndpointRow.failing_since.is_(None), bindparam("b_began", moment, Time)), else_=EndpointRow.failing_since
        )
        values["failing_since"] = began
    if bad:
        values["last_failure_at"] = moment
    changed = update(EndpointRow).where(EndpointRow.id == endpoint).values(values)
    return changed.execution_options(synchronize_session=False)
