"""What is asked about a text and what is answered: the words that everything here that judges has in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from portico.detection import Finding

EMBEDDED: Final = "embedded"  # the name of the detector that needs no engine


@dataclass(frozen=True, slots=True)
class Question:
    """A text, and whose it is. Answers never cross tenants.

    `owner` is who asks, as KIND:ID of its principal. With `fresh`, no earlier answer will do.
    """

    text: str
    threshold: float
    tenant: str
    owner: str
    request_id: str
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The answer. `confidence` is between 0 and 1; `engine` says who judged, `degraded` that it stood in for others.

    `findings` are the embedded detector's; an engine tells only its reason. `unjudged`: nobody looked at the text, and
    `reason`, which is told unasked, says why.
    """

    is_malicious: bool
    confidence: float
    threat_types: tuple[str, ...]
    reason: str
    engine: str
    degraded: bool = False
    cache_hit: bool = False
    findings: tuple[Finding, ...] = ()
    unjudged: bool = False


class Judge(Protocol):
    """Something that answers: the embedded detector, a pool of engines, a cache before another judge."""

    async def judge(self, question: Question) -> Judged:
        """The answer; what it raises is a PorticoError."""
        ...


class ReviewQueue(Protocol):
    """Where texts go that nobody could judge in time, for a person to decide."""

    async def put(self, question: Question, judged: Judged, why: str) -> None:
        """Keep the text for a person; `why` is a code such as `engine_timeout`. The same text waits once a tenant."""
        ...


Count = Callable[[Question, Judged], None]  # is told of each text whose answer is certain; never raises


def nobody_counts(question: Question, judged: Judged) -> None:
    """A `Count` that does nothing."""
