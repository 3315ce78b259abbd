from __future__ import annotations

import pytest
from tests.unit.edge.policies.kit import context, exchange, lines, principal, refused

from portico.contracts import Identity, Role, Route, Server, Snapshot
from portico.edge.context import PolicyContext
from portico.edge.policies.require import WHY, build
from portico.identity.principal import Principal


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


def test_the_challenge_names_the_scope_that_is_missing() -> None:
    answer = build({"permissions": ["users:read:7"]}, context()).check(exchange(principal=principal()))
    refused(answer, 403, "permission_missing")
    challenge = lines(answer.fields)["www-authenticate"]  # type: ignore[union-attr]
    assert challenge == 'Bearer realm="portico", error="insufficient_scope", scope="users:read:7"'


@pytest.mark.parametrize(
    ("permissions", "told"),
    [
        (("users:read",), "users:read is covered by the grant users:read"),
        (("a:b", "users:*"), "users:read is covered by the grant users:* of the role user"),
        (("users:*", "*"), "users:read is covered by the grant users:* of the role user"),
        (("*",), "users:read is covered by the grant *"),
        (("a:b", "users:write"), "users:read is covered by no grant; the caller has: a:b, users:write"),
        ((), "users:read is covered by no grant; the caller has: none"),
    ],
)
def test_a_look_tells_which_rule_allowed_or_that_none_did(permissions: tuple[str, ...], told: str) -> None:
    identity = Identity(roles=(Role("admin", ("*",)), Role("user", ("users:*",))))
    route = Route("r", ("/*",), "up")
    made = PolicyContext(Snapshot(1, "t", Server(()), identity=identity), route, {})
    step = build({"permissions": ["users:read"]}, made)
    asked = exchange(principal=Principal("ada", "person", "acme", permissions, ("user",)))
    assert step.peek is not None
    assert (step.peek(asked) is None) == (step.check(asked) is None)
    assert asked.notes[WHY] == [told]
