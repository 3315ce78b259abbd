"""What an engine is sent and what it must answer; anything else is a failure of the engine."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final, get_args

from portico.errors import EngineFailed
from portico.services import inputs
from portico.services.detection.schemas import Threat

THREATS: Final = frozenset(get_args(Threat))
LONGEST: Final = 4000  # characters of a reason; the rest is cut off
NONSENSE: Final = "nonsense"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an engine says of a text: `confidence`, 0 to 1, that it is malicious; known threats only."""

    confidence: float
    threat_types: tuple[str, ...]
    reason: str


def ask(text: str, threshold: float) -> bytes:
    """The body of a call. A reason is always asked for: whoever shares the answer may want it."""
    config = {"confidence_threshold": threshold, "detailed_response": True}
    return json.dumps({"text": text, "config": config}, ensure_ascii=False, separators=(",", ":")).encode()


def read(body: bytes) -> Verdict:
    """The verdict of an answer; EngineFailed when it is none.

    `is_malicious`, `confidence` and `threat_types` must be there and be what they should. Threats that are not known
    here are dropped. Fields of an engine's own are not read.
    """
    try:
        found = inputs.parse(body)
    except inputs.JsonError as error:
        raise _nonsense(f"its answer can't be read: {error}") from None
    if not isinstance(found, dict):
        raise _nonsense("its answer is no JSON object")
    if not isinstance(found.get("is_malicious"), bool):
        raise _nonsense("its answer has no is_malicious that is true or false")
    return Verdict(_confidence(found.get("confidence")), _threats(found.get("threat_types")), _reason(found))


def _confidence(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not 0 <= value <= 1:
        raise _nonsense("its answer has no confidence from 0 to 1")
    return float(value)


def _threats(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _nonsense("its answer has no list of threat_types")
    return tuple(dict.fromkeys(each for each in value if each in THREATS))


def _reason(found: dict[str, Any]) -> str:
    value = found.get("reason")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _nonsense("its answer has a reason that is no text")
    return value if len(value) <= LONGEST else value[:LONGEST] + "…"


def _nonsense(message: str) -> EngineFailed:
    return EngineFailed(NONSENSE, message)
