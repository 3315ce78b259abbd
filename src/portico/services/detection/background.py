"""Verdicts in the background: a job for each text, whose result and webhooks are written in one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from portico.errors import GiveUp, LeaseLost, Missing
from portico.identity.principal import Principal
from portico.jobs.handler import Backoff, Handler
from portico.jobs.job import Job
from portico.jobs.jobs import Jobs, New
from portico.jobs.records import SUCCEEDED, JobRecord
from portico.jobs.together import ending
from portico.services.detection import answers
from portico.services.detection.envelope import Asked, Envelopes, forget
from portico.services.detection.judging import Count, Judge, Question, nobody_counts
from portico.services.detection.schemas import Detect, Detected
from portico.services.detection.telling import Message, Telling
from portico.services.events import DETECTION_COMPLETE, DETECTION_FAILED
from portico.services.problems import Refused
from portico.storage.database import Database
from portico.storage.group import Group
from portico.storage.ids import uuid7
from portico.storage.tables import JobRow

if TYPE_CHECKING:
    from portico.jobs.claims import Claim
    from portico.storage.vault import Vault

KIND: Final = "detection.judge"
QUEUE: Final = "detection"
AT_ONCE: Final = 16  # texts; the other jobs that run wait for their turn, or for their results to be written
LINGER: Final = 0.03  # seconds that results wait for more, so that a transaction is of many
CROWDED: Final = 0.005  # seconds that one turn of the loop takes when requests wait
PAUSE: Final = 0.05  # seconds
PAUSES: Final = 20
TIMEOUT: Final = 600.0  # seconds of one attempt, with the wait for its turn
STEPS: Final = Backoff(steps=(1, 5, 30, 120, 600))
FAILED: Final = "the text could not be judged, however often it was tried"
_JOBS: Final[Table] = JobRow.__table__  # type: ignore[assignment]
_FORGET: Final = (
    update(_JOBS)
    .where(_JOBS.c.id == bindparam("b_id"))
    .values(payload=bindparam("b_payload", type_=_JOBS.c.payload.type))
)


@dataclass(frozen=True, slots=True)
class Done:
    """A job that has been judged; `verdict` has the fields of a `Verdict`."""

    job: Job
    asked: Asked
    verdict: dict[str, Any]

    @property
    def result(self) -> dict[str, Any]:
        """What is kept: all but what the caller has sent is plain JSON."""
        return {"verdict": self.verdict, "request_id": self.asked.request_id, "metadata": self.asked.metadata}


class Background:
    """Accepts texts, judges them as jobs, shows what came of it."""

    def __init__(
        self,
        judge: Judge,
        telling: Telling,
        db: Database,
        jobs: Jobs,
        vault: Vault,
        count: Count = nobody_counts,
    ) -> None:
        self._judge = judge
        self._count = count
        self._telling = telling
        self._db = db
        self._jobs = jobs
        self._envelopes = Envelopes(vault)
        self._accepting: Group[AsyncSession, New, str] = Group(db.write, self._enqueue)
        self._ending: Group[AsyncSession, Done, None] = Group(db.write, self._end, LINGER)
        self._turns = asyncio.Semaphore(AT_ONCE)

    def handlers(self) -> Sequence[Handler]:
        """What runs the jobs."""
        summary = "judge texts that were sent to /detect/async"
        return (Handler(KIND, self._run, QUEUE, STEPS, TIMEOUT, summary=summary, given_up=self._given_up),)

    async def accept(self, caller: Principal, body: Detect, request_id: str, key: str | None) -> str:
        """The id of the job, which is committed. With a `key`, the same request of the same owner is one job.

        Refused (422) when the key was used for another request, or the webhook's URL can't be called.
        """
        await self._telling.check(body.webhook_url)
        owner = await self._telling.owner(caller)
        asked = Asked(
            body.text,
            body.config.confidence_threshold,
            body.config.include_reasoning,
            None if body.metadata is None else json.dumps(body.metadata, ensure_ascii=False),
            body.webhook_url,
            request_id,
            f"{caller.kind}:{caller.id}",
        )
        name = uuid7()
        payload = self._envelopes.seal(name, owner, asked)
        shown = owner if len(owner) <= JobRow.owner.type.length else ""
        once = None if key is None else hashlib.sha256(f"{owner}\n{key}".encode()).hexdigest()
        return await self._accepting.add(New(KIND, payload, caller.tenant, shown, key=once, id=name))

    async def find(self, caller: Principal, id: str) -> JobRecord:  # noqa: A002
        """A job of the caller's; Missing when there is none."""
        found = await self._jobs.get(id, caller.tenant)
        if found is None or found.kind != KIND or found.payload.get("owner") != await self._telling.owner(caller):
            raise Missing("there is no such job")
        return found

    async def cancel(self, caller: Principal, id: str) -> JobRecord:  # noqa: A002
        """Cancel a job of the caller's; one that has ended stays as it is. Missing when there is none."""
        await self.find(caller, id)
        return await self._jobs.cancel(id, caller.tenant)

    async def _enqueue(self, session: AsyncSession, news: Sequence[New]) -> list[str | Exception]:
        # Those with keys in the order of these: two processes that insert the same keys must not wait for each other.
        ordered = sorted(news, key=lambda new: (new.tenant, new.key or ""))
        made = await self._jobs.enqueue_many(session, ordered)
        ids = {new.id: id_ for new, id_ in zip(ordered, made, strict=True)}
        others = [id_ for new, id_ in ids.items() if id_ != new]
        found = select(JobRow.id, JobRow.payload["print"].as_string()).where(JobRow.id.in_(others))
        prints: dict[str, str] = dict((await session.execute(found)).tuples().all()) if others else {}
        return [self._accepted(new, ids[new.id], prints) for new in news]

    def _accepted(self, new: New, id_: str, prints: dict[str, str]) -> str | Exception:
        if id_ != new.id and self._envelopes.differ(prints.get(id_, ""), new.payload["print"]):
            detail = "this Idempotency-Key was used for another request"
            return Refused(422, "idempotency_key_reused", detail, "use a new key for each new request")
        return id_

    async def _run(self, job: Job) -> None:
        asked = self._envelopes.open(job.id, job.payload)
        question = Question(asked.text, asked.threshold, job.tenant, asked.asker, asked.request_id)
        async with self._turns:
            await _after_requests()
            began = time.perf_counter()
            judged = await self._judge.judge(question)
        verdict = answers.fields(judged, time.perf_counter() - began, asked.reasoning)
        await self._ending.add(Done(job, asked, verdict))
        self._count(question, judged)

    async def _end(self, session: AsyncSession, some: Sequence[Done]) -> list[Exception | None]:
        """Results, webhooks and the end of the jobs, together or not at all."""
        async with ending(session, self._db, [(done.job, done.result) for done in some]) as held:
            mine = [done for done in some if done.job.id in held]
            await self._telling.write(session, [_complete(done) for done in mine])
            if mine:
                forgotten = [{"b_id": done.job.id, "b_payload": forget(done.job.payload)} for done in mine]
                await (await session.connection()).execute(_FORGET, forgotten)
        lost = LeaseLost("the job is not this worker's any more")
        return [None if done.job.id in held else lost for done in some]

    async def _given_up(self, session: AsyncSession, claim: Claim, error: str) -> None:
        data: dict[str, Any] = {"job_id": claim.id, "error": {"code": "detection_failed", "detail": FAILED}}
        url = None
        try:
            asked = self._envelopes.open(claim.id, claim.payload)
        except GiveUp:
            data |= {"request_id": "", "metadata": None}
        else:
            url = asked.url
            data |= {"request_id": asked.request_id, "metadata": _metadata(asked.metadata)}
        message = Message(claim.tenant, str(claim.payload["owner"]), DETECTION_FAILED, data, url, True)
        await self._telling.write(session, [message])


async def _after_requests() -> None:
    """Requests go first: while the loop is crowded, wait, but not for ever."""
    for _ in range(PAUSES):
        began = time.perf_counter()
        await asyncio.sleep(0)
        if time.perf_counter() - began < CROWDED:
            return
        await asyncio.sleep(PAUSE)


def result(record: JobRecord) -> Detected | None:
    """The result of a job, once it has succeeded."""
    if record.state != SUCCEEDED or record.result is None:
        return None
    return _detected(record.result)


def _detected(kept: dict[str, Any]) -> Detected:
    return Detected(**kept["verdict"], request_id=kept["request_id"], metadata=_metadata(kept["metadata"]))


def _complete(done: Done) -> Message:
    data = {"job_id": done.job.id, "result": _detected(done.result).model_dump(mode="json")}
    return Message(done.job.tenant, str(done.job.payload["owner"]), DETECTION_COMPLETE, data, done.asked.url, True)


def _metadata(text: str | None) -> Any:
    return None if text is None else json.loads(text)
