"""What is asked of the detector, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

JAILBREAK: Final = "jailbreak"
LEAK: Final = "system_prompt_leak"
INJECTION: Final = "injection"
EXTRACTION: Final = "data_extraction"
ENCODING: Final = "encoding_attack"
DELIMITER: Final = "delimiter_attack"
THREATS: Final = (JAILBREAK, LEAK, INJECTION, EXTRACTION, ENCODING, DELIMITER)


@dataclass(frozen=True, slots=True)
class Settings:
    """How one text is judged: `confidence_threshold` is between 0 and 1, both included."""

    confidence_threshold: float = 0.6


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that fitted.

    `start` and `end` are characters of the text as it was given. `via` says what had to be undone to see it, outermost
    first: `("base64", "rot13")`; then the place is that of the encoded part. `strength` is 1 (a hint), 2 (clear) or 3
    (hardly ever said by accident).
    """

    rule: str
    threat: str
    start: int
    end: int
    strength: int
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one text. `confidence` is a multiple of 0.001; `threat_types` keep the order of `THREATS`."""

    is_malicious: bool
    confidence: float
    threat_types: tuple[str, ...]
    findings: tuple[Finding, ...]
    reason: str
