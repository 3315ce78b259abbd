"""One attempt at one job: runs its handler, and says how it ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from portico.errors import GiveUp, PorticoError, RetryLater, StorageError
from portico.jobs import finish
from portico.jobs.claims import Claim
from portico.jobs.finish import Outcome
from portico.jobs.handler import Handler, Handlers
from portico.jobs.job import Job
from portico.jobs.records import FAILED
from portico.storage.database import Database
from portico.telemetry import logs, tracing
from portico.telemetry.tracing.process import Tracing

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from portico.jobs.cpu import Processes

RESULT: Final = 64 * 1024  # bytes as JSON
EFFECTS: Final = 4  # transactions of handlers at once; the worker's own beat must not wait behind hundreds
STRANGE: Final = 60.0  # seconds until a job is looked at again whose kind nobody here knows
STOP: Final = "stop"  # why an attempt is interrupted: its worker stops
CANCEL: Final = "cancel"  # someone cancelled the job
LOST: Final = "lost"  # it is another worker's by now


class Attempts:
    """Runs claims with the handlers of this process."""

    def __init__(self, db: Database, handlers: Handlers, processes: Processes, traces: Tracing | None = None) -> None:
        self._traces = traces
        self._db = db
        self._handlers = handlers
        self._processes = processes
        self._turns = asyncio.Semaphore(EFFECTS)

    def job(self, claim: Claim) -> Job:
        """The job of a claim, for its handler."""
        return Job(claim, self._db, self._turns)

    async def run(self, job: Job, why: list[str]) -> Outcome | None:
        """Run it; None when there is nothing to write. When the task is cancelled, `why` says for what reason."""
        claim, handler = job.claim, self._handlers.get(job.kind)
        if handler is None:
            error = "no plugin that is on here has a handler for this kind"
            return Outcome(claim, "waiting", error=error, delay=STRANGE, what=finish.STOPPED, counts=False)
        if claim.attempt > handler.backoff.attempts:
            return finish.failed(claim, "its workers died too often", None)
        limit = asyncio.timeout(None if handler.cpu else handler.timeout)
        try:
            with self._span(claim):
                async with limit:
                    result = await self._call(handler, job, limit)
        except asyncio.CancelledError:
            return _interrupted(claim, why)
        except TimeoutError as error:
            if not limit.expired():
                return self._failed(job, handler, error)
            return finish.failed(claim, f"not done within {handler.timeout:g} s", handler.backoff.after(claim.attempt))
        except Exception as error:  # the handler's own code
            return self._failed(job, handler, error)
        return None if job.finished else _done(claim, result)

    async def give_up(self, session: AsyncSession, outcomes: Sequence[Outcome]) -> None:
        """Tell the handlers of those that fail for good and are still their worker's; before it is written."""
        for outcome in outcomes:
            handler = self._handlers.get(outcome.claim.kind) if outcome.state == FAILED else None
            if handler is None or handler.given_up is None or not await finish.is_held(session, outcome.claim):
                continue
            try:
                async with session.begin_nested():
                    await handler.given_up(session, outcome.claim, outcome.error)
            except StorageError:
                raise
            except Exception as error:  # the handler's own code; the job has failed all the same
                logs.get("portico.jobs").error(
                    "nobody could be told that a job failed", job=outcome.claim.id, cause=str(error), exc_info=error
                )

    def _span(self, claim: Claim) -> AbstractContextManager[object]:
        """Each attempt is a part of what has enqueued the job, if that was traced."""
        if self._traces is None or not claim.traceparent:
            return nullcontext()
        attributes: dict[str, tracing.Value] = {
            "portico.job": claim.id, "portico.attempt": claim.attempt, "portico.tenant": claim.tenant
        }  # fmt: skip
        parent = claim.traceparent.encode()
        return self._traces.continued(parent, f"job {claim.kind}", tracing.CONSUMER, attributes) or nullcontext()

    async def _call(self, handler: Handler, job: Job, limit: asyncio.Timeout) -> dict[str, Any] | None:
        if isinstance(handler.run, str):
            async with self._processes.free:
                limit.reschedule(asyncio.get_running_loop().time() + handler.timeout)  # waiting for one does not count
                return await self._processes.call(handler.run, job.payload)
        return await handler.run(job)

    def _failed(self, job: Job, handler: Handler, error: Exception) -> Outcome | None:
        claim, after = job.claim, handler.backoff.after(job.attempt)
        if job.finished:
            return None
        ours = isinstance(error, PorticoError)
        # The messages of others may quote what they were given; the log masks secrets.
        said = str(error) if ours else type(error).__name__
        if isinstance(error, GiveUp):
            after = None
        elif isinstance(error, RetryLater) and error.after is not None and after is not None:
            after = max(0.0, error.after)
        logs.get("portico.jobs").warning(
            "a job failed", job=job.id, kind=job.kind, attempt=job.attempt, again_after=after, cause=str(error),
            exc_info=None if ours else error,
        )  # fmt: skip
        return finish.failed(claim, said, after)


def _interrupted(claim: Claim, why: list[str]) -> Outcome | None:
    if LOST in why:
        return None
    if CANCEL in why:
        return finish.cancelled(claim)
    return finish.stopped(claim)


def _done(claim: Claim, result: Any) -> Outcome:
    if result is None:
        return finish.succeeded(claim, None)
    try:
        small = isinstance(result, dict) and len(json.dumps(result, allow_nan=False).encode()) <= RESULT
    except (TypeError, ValueError):
        small = False
    if not small:
        return finish.failed(claim, f"its result is no JSON object of at most {RESULT // 1024} KiB", None)
    return finish.succeeded(claim, result)
