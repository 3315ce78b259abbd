"""What detection in the background answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from portico.services.detection.schemas import Detected
from portico.services.views import Moment, View

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Accepted(View):
    """The text is kept, and will be judged."""

    job_id: str
    status_url: str = Field(description="Where the result will be")


class Failure(View):
    """Why there is no verdict."""

    code: str
    detail: str


class DetectionJob(View):
    """A text that is judged in the background."""

    job_id: str
    status: Status
    created_at: Moment
    started_at: Moment | None = Field(description="The last attempt's begin")
    ended_at: Moment | None
    result: Detected | None = Field(description="Once it has succeeded")
    error: Failure | None = Field(description="Once it has failed for good")
