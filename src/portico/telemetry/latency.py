"""Buckets of latency, and what can be said of a share of the requests when only their counts are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# Seconds; a bucket holds what took longer than the bound before it and at most its own. One more has what took longer
# than all. The edge's are the same (a test compares them).
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Seconds within which `share` (0 to 1) of the requests were answered; None when there were none.

    Within a bucket they are taken to lie evenly, so the answer is in the same bucket as the exact one. Of the last
    bucket only its lower bound is known: 10 means ten seconds or more.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    below = 0
    for index, bound in enumerate(BOUNDS):
        count = counts[index]
        if count and below + count >= wanted:
            low = BOUNDS[index - 1] if index else 0.0
            return low + (bound - low) * max(0.0, wanted - below) / count
        below += count
    return BOUNDS[-1]
