"""The linear model: trained weights of one byte, summed as integers, so that every machine finds the same number."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from math import isqrt
from typing import Any, Final
from zlib import crc32

from portico.detection.features import blocks, bounds, grams

WEIGHTS: Final = "weights.json"
UNIT_SCALE: Final = 64  # a unit's sum is kept in 64ths, divided by the root of the number of its grams
MOST_REMEMBERED: Final = 50_000  # units whose sums are kept; some 10 MB at the most
LEAST_UNITS: Final = 8  # fewer are divided as if there were so many: two words prove little


@dataclass(frozen=True, slots=True)
class Weights:
    """What training makes (tools/train_detector): see docs/explanation/detector.md.

    `table` has one signed byte a bucket. `bias`, `per_score` and `per_evidence` make the logit, in thousandths;
    `curve` is the confidence in thousandths for logits from `-limit` to `limit`, equally spaced.
    """

    version: str
    table: tuple[int, ...]
    per_score: int
    per_evidence: tuple[int, ...]
    bias: int
    limit: int
    curve: tuple[int, ...]

    @staticmethod
    def load() -> Weights:
        """The weights that came with the package."""
        return Weights.read(files("portico.detection").joinpath(WEIGHTS).read_text("ascii"))

    @staticmethod
    def read(text: str) -> Weights:
        """From the JSON that training writes."""
        held: dict[str, Any] = json.loads(text)
        raw = zlib.decompress(base64.b64decode(held["table"]))
        return Weights(
            version=held["version"],
            table=tuple(byte - 256 if byte > 127 else byte for byte in raw),
            per_score=held["per_score"],
            per_evidence=tuple(held["per_evidence"]),
            bias=held["bias"],
            limit=held["limit"],
            curve=tuple(held["curve"]),
        )

    def confidence(self, score: int, evidence: int) -> int:
        """How sure, in thousandths, for a window's `score` and rules of `evidence` (0 to 5) in the same text."""
        logit = self.bias + self.per_score * score // 1000 + self.per_evidence[evidence]
        logit = max(-self.limit, min(self.limit, logit))
        steps = len(self.curve) - 1
        return self.curve[(logit + self.limit) * steps // (2 * self.limit)]


@dataclass(frozen=True, slots=True)
class Window:
    """Words `first` to `last` (not included) with `units` scored `score`."""

    score: int
    first: int
    last: int
    units: set[str]


class Sums(dict[str, int]):
    """What each unit adds: the sum of its weights, divided by the root of the number of its grams, in 64ths.

    Remembers units it has met: a bound of memory, not of what is found.
    """

    def __init__(self, table: tuple[int, ...]) -> None:
        self._table = table

    def __missing__(self, unit: str) -> int:
        table = self._table
        if len(self) >= MOST_REMEMBERED:
            self.clear()
        if " " in unit:
            self[unit] = table[crc32(unit.encode()) & (len(table) - 1)] * UNIT_SCALE
            return self[unit]
        found = grams(unit, len(table) - 1)
        total = sum([table[bucket] for bucket in found])
        self[unit] = total * UNIT_SCALE * 256 // isqrt(len(found) * 65536)
        return self[unit]


class Model:
    """Scores words by `Weights`. Not for several threads at once."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._sums = Sums(weights.table)

    @property
    def remembered(self) -> int:
        """How many units are remembered."""
        return len(self._sums)

    def best(self, words: list[str]) -> Window:
        """The window of `words` that is most like an attack; of equals the first."""
        parts = blocks(words)
        sums = [self._sum(part) for part in parts]
        if len(parts) == 1:
            return Window(_per_unit(sums[0], len(parts[0])), *bounds(0, words), parts[0])
        scores = []
        for place, (one, two) in enumerate(pairwise(parts)):
            both = one & two  # summed once, as if the union had been made
            total = sums[place] + sums[place + 1] - self._sum(both)
            scores.append(_per_unit(total, len(one) + len(two) - len(both)))
        place = max(range(len(scores)), key=scores.__getitem__)
        return Window(scores[place], *bounds(place, words), parts[place] | parts[place + 1])

    def score(self, distinct: set[str]) -> int:
        """How much these units are like an attack, divided by the root of how many they are."""
        return _per_unit(self._sum(distinct), len(distinct))

    def _sum(self, distinct: set[str]) -> int:
        return sum(map(self._sums.__getitem__, distinct))

    def telling(self, window: Window, most: int) -> list[str]:
        """The units of `window` that count most for an attack, at most `most`, the heaviest first."""
        ranked = sorted(window.units, key=lambda unit: (-self._sums[unit], unit))
        return [unit for unit in ranked[:most] if self._sums[unit] > 0]


def _per_unit(total: int, count: int) -> int:
    return total * 256 // isqrt(max(count, LEAST_UNITS) * 65536)
