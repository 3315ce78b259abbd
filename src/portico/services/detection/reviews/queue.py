"""The queue of texts for people: many that come at once are written together."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from portico.errors import Busy
from portico.services.detection.judging import Judged, Question
from portico.services.detection.reviews.masking import masked
from portico.storage.detection import Doubt, Put
from portico.telemetry import logs

if TYPE_CHECKING:
    from portico.contracts import Reviews as Bounds
    from portico.storage.detection import Reviews
    from portico.telemetry.counts import Counts

METRIC: Final = "detection_reviews"
OUTCOMES: Final = tuple(each.value for each in Put)
TOGETHER: Final = 100  # texts in one transaction
MOST: Final = 1000  # texts that wait to be written
MASK: Final = "mask"


class Queue:
    """Keeps texts as `bounds` say; satisfies `judging.ReviewQueue`."""

    def __init__(self, reviews: Reviews, bounds: Bounds, counts: Counts) -> None:
        self._reviews = reviews
        self._bounds = bounds
        self._counts = counts
        self._pending: list[tuple[Doubt, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, question: Question, judged: Judged, why: str) -> None:
        """Keep the text for a person; it is written when this returns. The same text waits once a tenant.

        Where too many wait already it is not kept, which is counted and logged. Busy, or a StorageError, when it can't
        be written.
        """
        if not self._bounds.most:
            return
        if len(self._pending) >= MOST:
            raise Busy("too many texts wait to be written")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((self._doubt(question, judged, why), written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await written

    async def stop(self) -> None:
        """Write what is left."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def _doubt(self, question: Question, judged: Judged, why: str) -> Doubt:
        text = question.text
        return Doubt(
            tenant=question.tenant,
            owner=question.owner,
            request_id=question.request_id,
            text=text,
            shown=masked(text) if self._bounds.text == MASK else text,
            why=why,
            engine=judged.engine,
            threshold=question.threshold,
            confidence=judged.confidence,
        )

    async def _write(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending[:TOGETHER], self._pending[TOGETHER:]
                await self._together(batch)
        finally:
            self._writing = None

    async def _together(self, batch: list[tuple[Doubt, asyncio.Future[None]]]) -> None:
        try:
            found = await self._reviews.put([doubt for doubt, _ in batch], self._bounds.most)
        except Exception as error:  # whatever it is, those who wait are told
            for _, written in batch:
                with suppress(asyncio.InvalidStateError):
                    written.set_exception(error)
            return
        for outcome in Put:
            if count := found.count(outcome):
                self._counts.add(METRIC, (outcome.value,), count)
        if count := found.count(Put.FULL):
            logs.get("portico.detection").warning("texts were not kept for review: too many wait", texts=count)
        for _, written in batch:
            with suppress(asyncio.InvalidStateError):  # whoever waited has gone
                written.set_result(None)
