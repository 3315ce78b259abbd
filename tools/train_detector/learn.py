"""A linear classifier (L2-regularised, squared hinge) by dual coordinate descent, after Hsieh et al., ICML 2008.

Plain Python, a fixed order from a fixed seed: the same weights in every run.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass
from math import fsum, sqrt
from operator import mul
from random import Random
from typing import Final

from portico.detection.features import grams
from portico.detection.model import LEAST_UNITS

EPOCHS: Final = 8
SEED: Final = 20240


@dataclass(frozen=True, slots=True)
class Example:
    """One window: buckets and how much of each, the side it is on (1 or -1), and how much an error on it costs."""

    buckets: array[int]
    values: array[float]
    side: int
    cost: float


class Vectors:
    """Turns the units of a window into buckets and values, as `portico.detection.model` weighs them."""

    def __init__(self, bits: int) -> None:
        self.size = 1 << bits
        self._known: dict[str, tuple[list[int], float]] = {}

    def of(self, units: set[str]) -> tuple[array[int], array[float]]:
        """Buckets, ascending, and their values."""
        sums: dict[int, float] = defaultdict(float)
        scale = 1 / sqrt(max(len(units), LEAST_UNITS))
        for unit in sorted(units):
            buckets, value = self._unit(unit)
            for bucket in buckets:
                sums[bucket] += value * scale
        buckets_used = sorted(sums)
        return array("l", buckets_used), array("d", [sums[bucket] for bucket in buckets_used])

    def _unit(self, unit: str) -> tuple[list[int], float]:
        known = self._known.get(unit)
        if known is None:
            found = grams(unit, self.size - 1)
            known = self._known[unit] = (found, 1 / sqrt(len(found)))
        return known


def learn(examples: list[Example], size: int) -> list[float]:
    """The weights, one a bucket, and the bias as the last."""
    weights = [0.0] * size + [0.0]
    alphas = [0.0] * len(examples)
    squares = [sum(value * value for value in one.values) + 1.0 for one in examples]
    order = list(range(len(examples)))
    chance = Random(SEED)
    for _ in range(EPOCHS):
        chance.shuffle(order)
        for number in order:
            one = examples[number]
            slack = 1 / (2 * one.cost)
            margin = one.side * dot(weights, one.buckets, one.values)
            gradient = margin - 1 + slack * alphas[number]
            alpha = max(0.0, alphas[number] - gradient / (squares[number] + slack))
            step = (alpha - alphas[number]) * one.side
            if step:
                alphas[number] = alpha
                for bucket, value in zip(one.buckets, one.values, strict=True):
                    weights[bucket] += step * value
                weights[-1] += step
    return weights


def dot(weights: list[float], buckets: array[int], values: array[float]) -> float:
    """The score of a window, bias included."""
    return weights[-1] + fsum(map(mul, map(weights.__getitem__, buckets), values))
