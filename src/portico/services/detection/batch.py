"""Batches: many texts in one request, each judged by itself, so that none of them fails the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pydantic import ValidationError

from portico.errors import PorticoError
from portico.identity.principal import Principal
from portico.services.detection import answers
from portico.services.detection.batch_schemas import (
    LONGEST_ID,
    BatchCounts,
    BatchDetected,
    BatchError,
    BatchItem,
    BatchVerdict,
)
from portico.services.detection.judging import Count, Judge, Question, nobody_counts
from portico.services.problems import Refused
from portico.telemetry import logs

AT_ONCE: Final = 16  # texts of one batch
ALL_AT_ONCE: Final = 32  # of all batches of this process
BATCHES: Final = 4  # of one caller in this process: a batch is counted when it is done
FAILED: Final = "detection_failed"
Outcome = BatchVerdict | BatchError


class Batches:
    """Judges batches."""

    def __init__(self, judge: Judge, count: Count = nobody_counts) -> None:
        self._judge = judge
        self._count = count
        self._turns = asyncio.Semaphore(ALL_AT_ONCE)
        self._running: dict[tuple[str, str, str], int] = {}  # caller → batches

    async def run(self, caller: Principal, request_id: str, items: Sequence[Any], fresh: bool = False) -> BatchDetected:
        """The verdicts; when `fresh` none that was given before. Cancel it to end its work.

        Refused (429) while the caller has too many batches under way.
        """
        with self._seat(caller):
            outcomes = _checked(items)
            waiting = iter([(at, each) for at, each in enumerate(outcomes) if isinstance(each, BatchItem)])

            async def some() -> None:
                for at, item in waiting:
                    async with self._turns:
                        outcomes[at] = await self._one(caller, request_id, at, item, fresh)

            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(items))):
                    group.create_task(some())
        results = [each for each in outcomes if isinstance(each, BatchVerdict)]
        errors = [each for each in outcomes if isinstance(each, BatchError)]
        malicious = sum(each.is_malicious for each in results)
        counts = BatchCounts(total=len(items), succeeded=len(results), failed=len(errors), malicious=malicious)
        return BatchDetected(request_id=request_id, results=results, errors=errors, counts=counts)

    async def _one(self, caller: Principal, request_id: str, index: int, item: BatchItem, fresh: bool) -> Outcome:
        began = time.perf_counter()
        owner = f"{caller.kind}:{caller.id}"
        question = Question(item.text, item.config.confidence_threshold, caller.tenant, owner, request_id, fresh)
        try:
            judged = await self._judge.judge(question)
        except Exception as error:  # whatever it is, it is this text's alone
            ours = isinstance(error, PorticoError)
            logs.get("portico.detection").error(
                "a text of a batch could not be judged", cause=str(error), exc_info=None if ours else error
            )
            detail = "the text could not be judged; try again later"
            return BatchError(id=item.id, index=index, code=FAILED, detail=detail)
        self._count(question, judged)
        found = answers.fields(judged, time.perf_counter() - began, item.config.include_reasoning)
        return BatchVerdict(id=item.id, **found)

    @contextmanager
    def _seat(self, caller: Principal) -> Iterator[None]:
        who = caller.tenant, caller.kind, caller.id
        taken = self._running.get(who, 0)
        if taken >= BATCHES:
            detail = f"{BATCHES} batches of this caller are under way already"
            raise Refused(429, "too_many_batches", detail, "wait for one to end", {"Retry-After": "1"})
        self._running[who] = taken + 1
        try:
            yield
        finally:
            self._running[who] -= 1
            if not self._running[who]:
                del self._running[who]


def _checked(items: Sequence[Any]) -> list[BatchItem | Outcome]:
    """Each item, or why it can't be judged. Of those with the same id the first counts, whatever comes of it."""
    seen: set[str] = set()
    found: list[BatchItem | Outcome] = []
    for index, item in enumerate(items):
        name = item.id if isinstance(item, BatchItem) else _id(item)
        if name is not None and name in seen:
            detail = "an item before this one has the same id"
            found.append(BatchError(id=name, index=index, code="duplicate_id", detail=detail))
        elif isinstance(item, BatchItem):
            found.append(item)
        else:
            found.append(BatchError(id=name, index=index, code="invalid_request", detail=_wrong(item)))
        if name is not None:
            seen.add(name)
    return found


def _id(item: Any) -> str | None:
    """The id of an item that is not as it must be; None when it has none that could be one."""
    name = item.get("id") if isinstance(item, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= LONGEST_ID and name.isprintable() else None


def _wrong(item: Any) -> str:
    """What is wrong with an item, and where; nothing of what it holds."""
    try:
        BatchItem.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:64] for part in first["loc"])
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    raise AssertionError("what is as it must be was taken")
