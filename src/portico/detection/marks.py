"""Marks that pretend the text has ended and another voice speaks, and links that carry data away.

Every pattern begins with a literal and has bounded repetition only, so that its time is in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from portico.detection.verdict import DELIMITER, EXTRACTION

MOST_EACH: Final = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """A pattern on folded text, looked for only where `literal` occurs."""

    id: str
    threat: str
    strength: int
    literal: str
    pattern: re.Pattern[str]


_PARTS: Final = "system|instructions?|prompt|context|document|user|input|assistant|data|text|conversation"

MARKS: Final = (
    Mark(
        "chat-template",
        DELIMITER,
        3,
        "<|",
        re.compile(
            r"<\|(?:im_start|im_end|system|user|assistant|end|eot_id|endoftext|start_header_id|end_header_id)\|>"
        ),
    ),
    Mark("instruction-brackets", DELIMITER, 3, "inst]", re.compile(r"\[/?inst\]")),
    Mark("system-brackets", DELIMITER, 3, "<<", re.compile(r"<</?sys>>")),
    Mark("closing-tag", DELIMITER, 2, "</", re.compile(rf"</(?:{_PARTS})>")),
    Mark("system-tag", DELIMITER, 2, "<", re.compile(r"<(?:system|admin|developer|instructions?|important)>")),
    Mark(
        "role-field",
        DELIMITER,
        3,
        "role",
        re.compile(r"role[\"']?\s{0,4}:\s{0,4}[\"'](?:system|developer|assistant)[\"']"),
    ),
    Mark("role-line", DELIMITER, 2, "\nsystem", re.compile(r"\nsystem(?: message| prompt| override| update)?\s{0,3}:")),
    Mark("role-line", DELIMITER, 1, "\nassistant", re.compile(r"\nassistant\s{0,3}:")),
    Mark("role-brackets", DELIMITER, 2, "[", re.compile(r"\[(?:system|admin|developer)(?: [a-z]{1,20}){0,3}\]")),
    Mark(
        "heading",
        DELIMITER,
        2,
        "#",
        re.compile(r"###? ?(?:system|instructions?|new instructions?|response|assistant)\b"),
    ),
    Mark(
        "rule-end",
        DELIMITER,
        2,
        "---",
        re.compile(rf"---? ?(?:end|begin|start|new|stop)\b[^\n-]{{0,40}}\b(?:{_PARTS})"),
    ),
    Mark(
        "rule-end", DELIMITER, 2, "===", re.compile(rf"=== ?(?:end|begin|start|new|stop)\b[^\n=]{{0,40}}\b(?:{_PARTS})")
    ),
    Mark("brackets-end", DELIMITER, 2, "[", re.compile(rf"\[(?:end|begin|start)(?: of)?(?: the)? (?:{_PARTS})")),
    Mark("comment-end", DELIMITER, 1, "<!--", re.compile(r"<!-- ?(?:system|ai|assistant|instructions?|note to)\b")),
    Mark(
        "image-link", EXTRACTION, 2, "![", re.compile(r"!\[[^\]\n]{0,80}\]\(https?://[^)\s]{1,200}\?[^)\s]{0,80}[={]")
    ),
)


def marks(folded: str) -> Iterator[tuple[Mark, int, int]]:
    """Every mark in `folded` with the characters where it begins and ends; at most three of each kind."""
    for mark in MARKS:
        if mark.literal not in folded:
            continue
        for count, found in enumerate(mark.pattern.finditer(folded)):
            if count == MOST_EACH:
                break
            yield mark, found.start(), found.end()
