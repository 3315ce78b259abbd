from __future__ import annotations

import pytest
from tests.unit.edge.policies.kit import context, exchange, refused

from portico.edge.exchange import UNKNOWN_LENGTH
from portico.edge.policies.body import build


@pytest.mark.parametrize("length", [0, 99, 100, UNKNOWN_LENGTH])
def test_a_body_within_the_limit_or_of_unknown_length_goes_on(length: int) -> None:
    asked = exchange(length=length)
    assert build({"limit": 100}, context()).check(asked) is None
    assert asked.body_limit == 100


def test_a_longer_one_is_refused_at_once() -> None:
    asked = exchange(length=101)
    problem = refused(build({"limit": 100}, context()).check(asked), 413, "body_too_large")
    assert "100 bytes" in problem["detail"]
