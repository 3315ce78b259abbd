"""What workers of their own count, added up in the database: nobody asks them, so they tell.

A worker adds what it has counted since it told last; the sums never fall. A killed worker's last seconds are missing.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from portico.storage.database import POSTGRESQL, Database
from portico.storage.tables import WorkerCountRow
from portico.telemetry.counts import Counts


class Sums:
    """The sums of one database, and what this process has told of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._told: dict[tuple[str, ...], int] = {}

    async def tell(self, counts: Counts) -> None:
        """Add what `counts` has counted since the last time."""
        now = counts.counted()
        more = {key: count - self._told.get(key, 0) for key, count in now.items() if count > self._told.get(key, 0)}
        if not more:
            return
        # In one order, so that two workers that tell at once never wait for each other in a circle.
        rows = sorted((key[0], json.dumps(key[1:]), count) for key, count in more.items())
        insert: Any = (postgresql if self._db.dialect == POSTGRESQL else sqlite).insert(WorkerCountRow)
        added = insert.on_conflict_do_update(
            index_elements=["name", "labels"], set_={"count": WorkerCountRow.count + insert.excluded.count}
        )
        async with self._db.write() as session:
            connection = await session.connection()
            await connection.execute(
                added, [{"name": name, "labels": labels, "count": count} for name, labels, count in rows]
            )
        self._told = now

    async def all(self) -> dict[tuple[str, ...], int]:
        """What all workers have told: name and labels → count."""
        async with self._db.read() as session:
            rows = await session.execute(select(WorkerCountRow.name, WorkerCountRow.labels, WorkerCountRow.count))
            return {(name, *json.loads(labels)): count for name, labels, count in rows}
