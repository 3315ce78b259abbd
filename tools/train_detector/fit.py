"""From rows to weights: which window of an attack is the attack, the weights, and what a score is worth."""

from __future__ import annotations

import base64
import json
import zlib
from array import array
from collections import Counter
from dataclasses import dataclass
from math import exp
from operator import mul
from typing import Final, TypeAlias

from portico.detection.detector import MOST_EVIDENCE, Detector
from portico.detection.features import windows
from portico.detection.model import UNIT_SCALE, Weights
from train_detector.learn import Example, Vectors, dot, learn
from train_detector.rows import Row, hash_of

BITS: Final = 16
ROUNDS: Final = 2  # how often the window that stands for an attack is chosen anew
COST: Final = 1.0
FOLDS: Final = 4
LENGTHS: Final = (8, 16, 32, 64)  # units; within each class of length both sides weigh the same
LIMIT: Final = 8_000
STEPS: Final = 1_600
MENTIONS: Final = "benign"  # our own benign texts, which use the words of attacks
SHARE_OF_MENTIONS: Final = 0.25  # what such a text counts for confidence: they are rarer in life than here
STEPS_OF_WORTH: Final = 400
RATE: Final = 2.0
PULL: Final = 0.0005

Vector: TypeAlias = "tuple[array[int], array[float]]"


@dataclass(frozen=True, slots=True)
class Text:
    """A row with its windows as vectors, and what the rules say of it."""

    row: Row
    windows: tuple[Vector, ...]
    units: tuple[int, ...]
    evidence: int


def prepare(rows: list[Row], detector: Detector) -> list[Text]:
    """The rows as the model sees them. Only rules and words of `detector` are used, not its weights."""
    vectors = Vectors(BITS)
    texts: list[Text] = []
    for row in rows:
        found = windows(detector.words(row.text))
        vectored = tuple(vectors.of(units) for _, _, units in found)
        texts.append(Text(row, vectored, tuple(len(units) for _, _, units in found), detector.evidence(row.text)))
    return texts


def train(texts: list[Text]) -> list[float]:
    """The weights: attacks stand in with their window that scores highest, benign texts with every window."""
    weights: list[float] = []
    for _ in range(ROUNDS):
        chosen = [(text, place) for text in texts for place in _places(text, weights)]
        weights = learn(_examples(chosen), 1 << BITS)
    return weights


def _places(text: Text, weights: list[float]) -> list[int]:
    every = list(range(len(text.windows)))
    if not text.row.attack or len(every) == 1:
        return every
    if not weights:
        return every[:3]
    return sorted(every, key=lambda place: -dot(weights, *text.windows[place]))[:2]


def _examples(chosen: list[tuple[Text, int]]) -> list[Example]:
    groups = Counter((_length(text.units[place]), text.row.attack) for text, place in chosen)
    examples = []
    for text, place in chosen:
        length = _length(text.units[place])
        mine = groups[length, text.row.attack]
        both = mine + groups[length, not text.row.attack]
        weight = max(0.2, min(5.0, both / (2 * mine)))
        examples.append(Example(*text.windows[place], 1 if text.row.attack else -1, COST * weight))
    return examples


def _length(units: int) -> int:
    return sum(1 for bound in LENGTHS if units > bound)


def best(weights: list[float], text: Text) -> float:
    """The score of the window that is most like an attack."""
    return max(dot(weights, *window) for window in text.windows)


def unseen_scores(texts: list[Text]) -> list[float]:
    """For each text its score by weights that were learned without it and without its fold."""
    scores = [0.0] * len(texts)
    folds = [hash_of(text.row.text[:60]) % FOLDS for text in texts]
    for fold in range(FOLDS):
        weights = train([text for text, other in zip(texts, folds, strict=True) if other != fold])
        for number, text in enumerate(texts):
            if folds[number] == fold:
                scores[number] = best(weights, text)
    return scores


def worth(scored: list[tuple[float, Text]]) -> list[float]:
    """A logistic regression: bias, per score, and for each step of evidence what it adds (never less than nothing)."""
    rows = [
        ([1.0, score, *(float(text.evidence > step) for step in range(MOST_EVIDENCE))], text) for score, text in scored
    ]
    weights = [SHARE_OF_MENTIONS if text.row.source == MENTIONS else 1.0 for _, text in scored]
    found = [0.0, 1.0] + [0.3] * MOST_EVIDENCE
    for _ in range(STEPS_OF_WORTH):
        slopes = [0.0] * len(found)
        for (features, text), weight in zip(rows, weights, strict=True):
            error = weight * (_sigmoid(sum(map(mul, found, features))) - text.row.attack)
            for place, value in enumerate(features):
                slopes[place] += error * value
        for place, slope in enumerate(slopes):
            pulled = PULL * found[place] if place else 0.0
            found[place] -= RATE * (slope / len(rows) + pulled)
            if place:
                found[place] = max(0.0, found[place])
    return found


def _sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


def curve() -> list[int]:
    """The confidence, in thousandths, for each step of the logit between its limits."""
    return [round(1000 * _sigmoid((2 * step - STEPS) * LIMIT / STEPS / 1000)) for step in range(STEPS + 1)]


def learn_worth(texts: list[Text]) -> list[float]:
    """`worth` by scores of texts that the weights had not seen. Our own attacks are left out: who wrote them also wrote
    the rules."""
    scored = zip(unseen_scores(texts), texts, strict=True)
    return worth([(score, text) for score, text in scored if text.row.source != "attacks"])


def written(weights: list[float], found: list[float], version: str) -> str:
    """The weights file, as JSON: one signed byte a bucket, and everything else as integers."""
    heaviest = max(abs(weight) for weight in weights[:-1])
    table = [round(weight * 127 / heaviest) for weight in weights[:-1]]
    per_unit = heaviest / 127 / UNIT_SCALE  # what one point of an integer score stands for
    held = {
        "version": version,
        "per_score": round(1_000_000 * found[1] * per_unit),
        "per_evidence": [round(1000 * sum(found[2 : 2 + count])) for count in range(MOST_EVIDENCE + 1)],
        "bias": round(1000 * (found[0] + found[1] * weights[-1])),
        "limit": LIMIT,
        "curve": curve(),
        "table": base64.b64encode(zlib.compress(bytes(value & 255 for value in table), 9)).decode(),
    }
    return json.dumps(held) + "\n"


def blank() -> Weights:
    """Weights that say nothing, for a detector of which only words and rules are used."""
    return Weights("blank", (0,) * (1 << BITS), 0, (0,) * (MOST_EVIDENCE + 1), 0, LIMIT, tuple(curve()))
