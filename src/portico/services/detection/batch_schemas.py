"""What a batch takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from portico.detection import check_text
from portico.services.detection.schemas import DetectConfig, Text, Verdict, WebhookUrl
from portico.services.values import Body
from portico.services.views import View

MOST: Final = 100  # texts of one batch
LONGEST_ID: Final = 128  # characters
NAMES: Final = 32  # in an object: of a hundred thousand that don't belong there not each is worth a sentence


def _name(value: Any) -> Any:
    if isinstance(value, str) and value:
        check_text(value, LONGEST_ID)
    return value


ItemId = Annotated[
    str,
    BeforeValidator(_name),
    Field(
        min_length=1,
        max_length=LONGEST_ID,
        description="Names the text in the answer; each once",
        json_schema_extra={"format": "plain-text"},
    ),
]


class BatchItem(Body):
    """A text of a batch."""

    id: ItemId
    text: Text
    config: DetectConfig = DetectConfig()

    @model_validator(mode="before")
    @classmethod
    def _few_names(cls, value: Any) -> Any:
        for each in (value, value.get("config")) if isinstance(value, dict) else ():
            if isinstance(each, dict) and len(each) > NAMES:
                raise ValueError(f"it has more than {NAMES} names in an object")
        return value


class Batch(Body):
    """Texts to be judged. One that can't be is told in `errors`; the others are judged all the same."""

    requests: list[Annotated[BatchItem | Any, Field(union_mode="left_to_right")]] = Field(min_length=1, max_length=MOST)
    webhook_url: WebhookUrl | None = Field(default=None, description="Is told the answer too, by a signed webhook")


class BatchVerdict(Verdict):
    """The verdict on one text."""

    id: str


class BatchError(View):
    """Why one text has no verdict."""

    id: str | None = Field(description="null: the item has none that could be one")
    index: int = Field(ge=0, description="Its place in `requests`, from 0")
    code: str = Field(description="`invalid_request`, `duplicate_id` or `detection_failed`")
    detail: str


class BatchCounts(View):
    """How many there were of what."""

    total: int
    succeeded: int
    failed: int
    malicious: int


class BatchDetected(View):
    """All verdicts and all errors, each in the order of `requests`."""

    request_id: str
    results: list[BatchVerdict]
    errors: list[BatchError]
    counts: BatchCounts
