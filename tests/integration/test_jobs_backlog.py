"""A million jobs in the queue are no burden for a claim."""

from __future__ import annotations

from statistics import median

import pytest

import jobs  # of bench/


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_claim_takes_as_long_with_a_million_jobs_queued(kind: str) -> None:
    found = jobs.claiming(kind, 5)
    few, _, many = (median(run["claim_ms"] for run in runs) for runs in found.values())
    assert many <= 2 * few + 5, found  # milliseconds
