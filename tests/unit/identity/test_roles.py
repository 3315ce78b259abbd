from __future__ import annotations

from portico.contracts import Role
from portico.identity.roles import Roles

ROLES = Roles((Role("user", ("profile:*", "a:b")), Role("clerk", ("a:b", "orders:*")), Role("none", ())))


def test_permissions_of_several_roles_each_once() -> None:
    assert ROLES.permissions(("user", "clerk")) == ("profile:*", "a:b", "orders:*")
    assert ROLES.permissions(()) == ()


def test_a_name_that_is_no_role_grants_nothing() -> None:
    assert ROLES.permissions(("admin", "none", "USER", "")) == ()


def test_which_role_grants() -> None:
    assert ROLES.granting(("user", "clerk"), "a:b") == "user"
    assert ROLES.granting(("clerk", "user"), "a:b") == "clerk"
    assert ROLES.granting(("user",), "orders:*") == ""
    assert ROLES.granting(("nobody",), "a:b") == ""
