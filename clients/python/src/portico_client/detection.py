"""What detection in batches and in the background takes and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portico_client._decode import decode
from portico_client.errors import UnexpectedAnswer
from portico_client.models import Verdict

ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A text of a batch; `id` is the caller's own word for it, and comes once in a batch."""

    id: str
    text: str
    confidence_threshold: float | None = None
    include_reasoning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchError:
    """A text of a batch that was not judged, and its place in the batch from 0. Go by `code`."""

    id: str | None
    code: str
    detail: str
    index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What came of a batch: the verdicts by their ids and what went wrong, each in the order in which they were sent.

    Of an id that came twice the first counts; the second is among `errors`.
    """

    results: dict[str, Verdict]
    errors: list[BatchError]
    counts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job that was just taken. `job_id` asks for it."""

    job_id: str
    status_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why there is no verdict. Go by `code`."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A text that is judged in the background. `status` is queued, running, succeeded, failed or cancelled.

    `result` is there when it succeeded, `error` when it failed for good.
    """

    job_id: str
    status: str
    result: Verdict | None
    error: JobError | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED


def read_batch(value: Any) -> Batch:
    """The model of an answer."""
    if not isinstance(value, dict) or not isinstance(value.get("counts"), dict):
        raise UnexpectedAnswer("the answer is no batch")
    results = {_id(each): decode(Verdict, _whole(each)) for each in _items(value, "results")}
    errors = [decode(BatchError, {"id": None, **each}) for each in _items(value, "errors")]
    return Batch(results=results, errors=errors, counts=value["counts"])


def read_job(job_id: str, value: Any) -> Job:
    """The model of an answer."""
    if not isinstance(value, dict) or not isinstance(value.get("status"), str):
        raise UnexpectedAnswer("the answer is no job")
    found = value.get("result")
    result = decode(Verdict, _whole(found)) if found is not None else None
    why = value.get("error")
    error = decode(JobError, why) if why is not None else None
    return Job(job_id=job_id, status=value["status"], result=result, error=error)


def _items(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    items = value.get(name)
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        raise UnexpectedAnswer(f"the answer's {name} are no list of objects")
    return items


def _id(item: dict[str, Any]) -> str:
    if not isinstance(item.get("id"), str):
        raise UnexpectedAnswer("a result has no id")
    return str(item["id"])


def _whole(item: Any) -> Any:
    """Results of a batch have neither metadata nor a request of their own."""
    return {"metadata": None, "request_id": "", **item} if isinstance(item, dict) else item
