"""What texts were judged to be, for usage: added up in memory, and written about twice a second.

A killed process loses what it has not written, less than a second; one that stops loses nothing. While the database
takes nothing, the counts wait, and are merged when there are many.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from portico.errors import PorticoError, StorageError
from portico.services.detection.judging import Judged, Question
from portico.storage.database import Database
from portico.storage.usage import verdicts
from portico.storage.usage.verdicts import Counted
from portico.telemetry import logs

EVERY: Final = 0.5  # seconds between two writings
PARTING: Final = 5.0  # seconds for the last one
CELLS: Final = 20_000  # above which callers are told apart by their tenant alone, and times by their hour
ROWS: Final = 500  # in one transaction
MINUTE: Final = 60
HOUR: Final = 3600
MILLION: Final = 1_000_000
MERGED: Final = "(merged)"

Cell = tuple[int, str, str, str, bool]  # minute, tenant, owner as KIND:ID, engine, malicious


class Verdicts:
    """`count` every text that was judged; from `start` to `stop` they are written."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock
        self._cells: dict[Cell, list[int]] = {}
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._failed = ""

    def count(self, question: Question, judged: Judged) -> None:
        """Count a text once, when its answer is certain: of a job, when its result is kept."""
        minute = int(self._clock()) // MINUTE * MINUTE
        cell = (minute, question.tenant, question.owner, judged.engine, judged.is_malicious)
        if len(self._cells) >= CELLS and cell not in self._cells:
            kind = question.owner.partition(":")[0]
            cell = (minute // HOUR * HOUR, question.tenant, f"{kind}:", judged.engine, judged.is_malicious)
        confidence = round(judged.confidence * MILLION)
        _plus(self._cells, cell, [1, confidence, int(judged.degraded), int(judged.cache_hit)])

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is left, for some seconds at most, and end. May be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        self._ending.set()
        # Not cancelled at once: a transaction that is given up as it commits may have happened or not.
        with suppress(PorticoError, TimeoutError):
            async with asyncio.timeout(PARTING):
                await task
                await self.write()
        left = sum(values[0] for values in self._cells.values())
        if left:
            logs.get("portico.detection").error("verdicts are not counted: the database took nothing", texts=left)

    async def write(self) -> None:
        """Add what was counted to the database. StorageError: what it did not take is still here."""
        for _ in range(0, len(self._cells), ROWS):  # what is counted meanwhile is for the next time
            some = dict(list(self._cells.items())[:ROWS])
            for cell in some:
                del self._cells[cell]
            try:
                async with self._db.write() as session:
                    await verdicts.add(session, [_counted(cell, values) for cell, values in some.items()])
            except BaseException:
                for cell, values in some.items():
                    _plus(self._cells, cell, values)
                raise

    async def _run(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._ending.wait()
            try:
                await self.write()
                self._failed = ""
            except StorageError as error:
                self._trouble(str(error), None)
            except Exception as error:  # it must not end: all that is counted from now on would go with it
                self._trouble(repr(error), error)

    def _trouble(self, cause: str, error: Exception | None) -> None:
        if cause != self._failed:
            self._failed = cause
            logs.get("portico.detection").warning("verdicts wait to be counted", cause=cause, exc_info=error)


def _counted(cell: Cell, values: list[int]) -> Counted:
    minute, tenant, owner, engine, malicious = cell
    kind, _, name = owner.partition(":")
    key = name if kind == "key" else ""
    return Counted(minute, tenant, kind, key, name or MERGED, engine, malicious, *values)


def _plus(cells: dict[Cell, list[int]], cell: Cell, values: list[int]) -> None:
    there = cells.get(cell)
    if there is None:
        cells[cell] = values
        return
    for index, value in enumerate(values):
        there[index] += value
