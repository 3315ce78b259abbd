from __future__ import annotations

import pytest
from tests.unit.edge.policies.kit import context, exchange, principal, refused

from portico.edge.policies.require import build


def test_all_permissions_are_needed() -> None:
    step = build({"permissions": ["users:read", "teams:read"]}, context())
    assert step.check(exchange(principal=principal(permissions=("users:*", "teams:read")))) is None
    problem = refused(step.check(exchange(principal=principal(permissions=("users:*",)))), 403, "permission_missing")
    assert "teams:read" in problem["detail"]
    assert "users:read" not in problem["detail"]


@pytest.mark.parametrize("caller", [None, principal()])
def test_without_a_grant_nothing_is_permitted(caller: object) -> None:
    asked = exchange()
    asked.principal = caller
    refused(build({"permissions": ["users:read"]}, context()).check(asked), 403, "permission_missing")
