"""How good a detector is on rows it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Final

BINS: Final = 10


def auc(attacks: Sequence[float], benign: Sequence[float]) -> float:
    """The chance that an attack scores above a benign text (ties count half); 0.5 tells nothing."""
    if not attacks or not benign:
        return float("nan")
    ranked = sorted([(score, True) for score in attacks] + [(score, False) for score in benign])
    total = 0.0
    below = start = 0
    while start < len(ranked):
        end = start
        while end < len(ranked) and ranked[end][0] == ranked[start][0]:
            end += 1
        hits = sum(1 for _, attack in ranked[start:end] if attack)
        misses = end - start - hits
        total += hits * (below + misses / 2)
        below += misses
        start = end
    return total / (len(attacks) * len(benign))


def matched_auc(rows: Sequence[tuple[float, int, bool]]) -> float:
    """`auc` where only texts of like length meet: rows are score, length, attack; a class spans √2."""
    groups: dict[int, tuple[list[float], list[float]]] = {}
    for score, length, attack in rows:
        group = groups.setdefault(int(2 * log2(max(1, length))), ([], []))
        group[0 if attack else 1].append(score)
    weighed = [(auc(*group), len(group[0]) * len(group[1])) for group in groups.values() if group[0] and group[1]]
    return sum(value * weight for value, weight in weighed) / sum(weight for _, weight in weighed)


def threshold(benign: Sequence[float], share: float) -> float:
    """The lowest score that at most `share` of the benign texts exceed."""
    ranked = sorted(benign, reverse=True)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def above(scores: Sequence[float], bound: float) -> float:
    """The share of `scores` above `bound`."""
    return sum(1 for score in scores if score > bound) / len(scores) if scores else float("nan")


def reliability(scores: Sequence[float], attacks: Sequence[bool]) -> tuple[float, list[tuple[float, float, int]]]:
    """The expected calibration error, and for each tenth of confidence: mean confidence, share of attacks, rows."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for score, attack in zip(scores, attacks, strict=True):
        bins[min(BINS - 1, int(score * BINS))].append((score, attack))
    table = []
    error = 0.0
    for held in bins:
        if held:
            sure = sum(score for score, _ in held) / len(held)
            right = sum(1 for _, attack in held if attack) / len(held)
            error += abs(sure - right) * len(held) / len(scores)
            table.append((sure, right, len(held)))
    return error, table
