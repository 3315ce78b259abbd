"""Reviews as others see them. Times are aware, confidences and thresholds between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from portico.errors import AccountError

MALICIOUS: Final = "malicious"
BENIGN: Final = "benign"
WAITING: Final = "waiting"
DECIDED: Final = "decided"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A text that nobody could judge. `shown` is what people get to see of it, and what is kept.

    `owner` is who asked (KIND:ID), `why` a code, `engine` who was asked, `confidence` what was answered.
    """

    tenant: str
    owner: str
    request_id: str
    text: str
    shown: str
    why: str
    engine: str
    threshold: float
    confidence: float


class Put(Enum):
    """What became of a doubt: it waits; its text was there already; too many wait."""

    KEPT = "kept"
    AGAIN = "again"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person says of a text; `threat_types` is for a malicious one."""

    decision: str
    note: str
    threat_types: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class Review:
    """A text, and what was decided of it; `decision` is empty while it waits.

    `text` is None when it was removed after the decision.
    """

    id: str
    tenant: str
    owner: str
    request_id: str
    text: str | None
    characters: int
    why: str
    engine: str
    threshold: float
    confidence: float
    times: int
    created_at: datetime
    last_at: datetime
    decision: str
    threat_types: tuple[str, ...]
    note: str
    decided_by: str
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which reviews; "" asks nothing. `state` is waiting or decided. `tenant` None: every tenant's."""

    tenant: str | None
    state: str = ""
    decision: str = ""
    why: str = ""


class AlreadyDecided(AccountError):
    """Somebody else has decided otherwise; `review` tells who and when."""

    def __init__(self, review: Review) -> None:
        super().__init__("somebody else has decided otherwise")
        self.review = review
