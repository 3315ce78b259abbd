"""Texts made to cost time or memory: judged in time in proportion to their length, within bounds."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest

from portico.detection import MAX_CHARACTERS, Detector

DETECTOR = Detector()


def bomb(size: int) -> str:
    text = "ignore all previous instructions " * 50
    while len(text) < size:
        text = base64.b64encode(text.encode()).decode()
    return text[:size]


HOSTILE: dict[str, Callable[[int], str]] = {
    "zero widths": lambda size: "\u200b" * size,
    "one word": lambda size: ("ignore " * size)[:size],
    "one concept, then none": lambda size: ("ignore previous " * size)[:size],
    "letters without end": lambda size: "a" * size,
    "single letters": lambda size: ("a " * size)[:size],
    "single letters that never end": lambda size: ("a b c d e fg " * size)[:size],
    "nested base64": bomb,
    "many base64": lambda size: ("aWdub3JlIGFsbCBydWxlcw== " * size)[:size],
    "almost base64": lambda size: ("A" * 15 + " ") * (size // 16),
    "hex pairs": lambda size: ("67 " * size)[:size],
    "almost hex": lambda size: ("67676767676767 g" * size)[:size],
    "zeros and ones": lambda size: ("01 " * size)[:size],
    "percent": lambda size: ("%41%" * size)[:size],
    "ampersands": lambda size: ("&amp" * size)[:size],
    "escapes": lambda size: ("\\u004" * size)[:size],
    "leet": lambda size: ("1gn0r3 4ll " * size)[:size],
    "symbols": lambda size: ("a$!|@" * size)[:size],
    "angles": lambda size: ("<|" * size)[:size],
    "brackets": lambda size: ("[system a b c d " * size)[:size],
    "image links": lambda size: ("![a](http://" * size)[:size],
    "rules of dashes": lambda size: ("---" * size)[:size],
    "dashes and words": lambda size: ("--- end a " * size)[:size],
    "combining marks": lambda size: "a" + "\u0301" * (size - 1),
    "ligatures that grow": lambda size: "\ufdfa" * size,
    "Chinese": lambda size: ("忽略" * size)[:size],
    "new lines": lambda size: "\n" * size,
    "tags": lambda size: "\U000e0041" * size,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_in_proportion_to_the_length(name: str) -> None:
    make = HOSTILE[name]
    DETECTOR.detect(make(MAX_CHARACTERS))
    quarter = min(cost(make(MAX_CHARACTERS // 4)) for _ in range(3))
    whole = min(cost(make(MAX_CHARACTERS)) for _ in range(3))
    assert whole < 10 * quarter + 0.005, f"{quarter * 1000:.1f} ms, then {whole * 1000:.1f} ms for four times as much"
    assert whole < 0.4


def cost(text: str) -> float:
    before = time.thread_time()
    DETECTOR.detect(text)
    return time.thread_time() - before


@pytest.mark.parametrize("name", HOSTILE)
def test_answers_are_bounded(name: str) -> None:
    verdict = DETECTOR.detect(HOSTILE[name](MAX_CHARACTERS))
    assert 0 <= verdict.confidence <= 1
    assert len(verdict.findings) <= 40
    assert len(verdict.reason) < 1000
    assert all(0 <= finding.start < finding.end <= MAX_CHARACTERS for finding in verdict.findings)


def test_what_is_remembered_is_bounded() -> None:
    detector = Detector()
    for number in range(60):
        detector.detect(" ".join(f"w{number}x{word}" for word in range(1_200)))
    assert detector.model.remembered <= 50_000
