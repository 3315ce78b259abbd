"""What the routes of reviews take and answer."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from portico.services.detection.schemas import Threat
from portico.services.values import Body
from portico.services.views import Moment, View
from portico.storage.detection import Review

START: Final = 200  # characters of a text in lists
NOTE: Final = 2000  # characters
# What a database and every reader of JSON Lines keeps as it is.
Note = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$", max_length=NOTE)]
State = Literal["waiting", "decided"]
Word = Literal["malicious", "benign"]


class Decide(Body):
    """What a person says of a text."""

    decision: Word
    note: Note = Field(default="", description="Why; it is exported")
    threat_types: Annotated[list[Threat], Field(max_length=6)] = Field(
        default=[], description="What a malicious text tries"
    )
    overrule: bool = Field(default=False, description="Replace what somebody else has decided otherwise")

    @model_validator(mode="after")
    def _fits(self) -> Decide:
        if self.threat_types and self.decision == "benign":
            raise ValueError("threat_types are for a malicious text")
        return self


class ReviewView(View):
    """A text for people to judge, in lists."""

    id: str
    state: State
    text_start: str | None = Field(description=f"Its first {START} characters; null: removed after the decision")
    characters: int = Field(description="Of the whole text, as it came")
    why: str = Field(description="Why nobody has judged it, such as engine_timeout")
    engine: str = Field(description="Who was asked")
    confidence_threshold: float
    confidence: float = Field(description="What was answered")
    tenant: str
    asked_by: str = Field(description="KIND:ID of whoever asked first")
    request_id: str
    times: int = Field(description="How often it came")
    created_at: Moment
    last_at: Moment = Field(description="When it came last")
    decision: Word | None
    threat_types: list[Threat]
    note: str
    decided_by: str | None = Field(description="KIND:ID")
    decided_at: Moment | None


class ReviewDetail(ReviewView):
    """The same, with the whole text."""

    text: str | None = Field(description="null: removed after the decision")


class Exported(View):
    """One line of an export; `label` and `text` are what tools that train want."""

    text: str | None
    label: Literal[0, 1] | None = Field(description="1: malicious; null: not decided")
    threat_types: list[Threat]
    source: Literal["review"]
    id: str
    why: str
    engine: str
    confidence: float
    note: str
    times: int
    created_at: Moment
    decided_at: Moment | None


def review_view(review: Review) -> ReviewView:
    """The view of a review in lists."""
    return ReviewView(**_fields(review))


def review_detail(review: Review) -> ReviewDetail:
    """The view of one review."""
    return ReviewDetail(**_fields(review), text=review.text)


def exported(review: Review) -> Exported:
    """The line of a review."""
    return Exported(
        text=review.text,
        label={"malicious": 1, "benign": 0}.get(review.decision),  # type: ignore[arg-type]
        threat_types=list(review.threat_types),  # type: ignore[arg-type]
        source="review",
        id=review.id,
        why=review.why,
        engine=review.engine,
        confidence=review.confidence,
        note=review.note,
        times=review.times,
        created_at=review.created_at,
        decided_at=review.decided_at,
    )


def _fields(review: Review) -> dict[str, Any]:
    return {
        "id": review.id,
        "state": "decided" if review.decision else "waiting",
        "text_start": None if review.text is None else review.text[:START],
        "characters": review.characters,
        "why": review.why,
        "engine": review.engine,
        "confidence_threshold": review.threshold,
        "confidence": review.confidence,
        "tenant": review.tenant,
        "asked_by": review.owner,
        "request_id": review.request_id,
        "times": review.times,
        "created_at": review.created_at,
        "last_at": review.last_at,
        "decision": review.decision or None,
        "threat_types": list(review.threat_types),
        "note": review.note,
        "decided_by": review.decided_by or None,
        "decided_at": review.decided_at,
    }
