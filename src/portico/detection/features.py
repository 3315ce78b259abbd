"""What the model sees of a text: hashed character n-grams of its words, and hashed pairs of neighbouring words.

A *unit* is a word or a pair. Each unit counts the same however long it is, and a window is divided by the square root
of its units: how long a text is says nothing about it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final
from zlib import crc32

from portico.detection.matching import MARKS

SIZES: Final = (3, 4, 5)
STOPS: Final = MARKS - {"?"}
NO_WORDS: Final = frozenset(".?")
STRIDE: Final = 16  # words
WINDOW: Final = 2 * STRIDE  # words that are judged together


def grams(unit: str, mask: int) -> list[int]:
    """The buckets of `unit`: of a pair (it has a space) one, of a word its own and its n-grams', ends marked."""
    if " " in unit:
        return [crc32(unit.encode()) & mask]
    padded = f"<{unit}>"
    raw = padded.encode()
    if len(raw) == len(padded):
        parts = [raw[start : start + size] for size in SIZES for start in range(len(raw) - size + 1)]
    else:
        parts = [padded[start : start + size].encode() for size in SIZES for start in range(len(padded) - size + 1)]
    return [crc32(raw) & mask, *[crc32(part) & mask for part in parts]]


def units(words: list[str]) -> tuple[list[str], list[str]]:
    """For each of `words` the word itself and the pair that it ends. Numbers count as one word.

    A mark is no word, but makes pairs with its neighbours, so that first and last words of sentences can be told.
    """
    plain = ["0" if word.isdigit() else "." if word in STOPS else word for word in words]
    return plain, [f"{one} {two}" for one, two in zip([".", *plain], plain, strict=False)]


def blocks(words: list[str]) -> list[set[str]]:
    """The distinct units of each STRIDE words."""
    plain, pairs = units(words)
    found: list[set[str]] = []
    for start in range(0, max(1, len(words)), STRIDE):
        block = {*plain[start : start + STRIDE], *pairs[start : start + STRIDE]}
        found.append(block - NO_WORDS)
    return found


def windows(words: list[str]) -> list[tuple[int, int, set[str]]]:
    """The overlapping windows over `words`: the first word, the one behind the last, and the distinct units between.

    Each is two neighbouring blocks. One block stands by itself only where there is no more.
    """
    parts = blocks(words)
    if len(parts) == 1:
        return [(*bounds(0, words), parts[0])]
    return [(*bounds(place, words), one | two) for place, (one, two) in enumerate(pairwise(parts))]


def bounds(place: int, words: list[str]) -> tuple[int, int]:
    """The first word of window number `place`, and the one behind its last."""
    return place * STRIDE, min(place * STRIDE + WINDOW, len(words))
