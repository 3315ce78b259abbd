"""What administrators do with keys, people and invitations; and what they can't."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from tests.e2e.api import BEHIND_PROXY, PASSWORD, Api, running, within

KEYS, USERS, INVITATIONS = "/api/v1/admin/keys", "/api/v1/admin/users", "/api/v1/admin/invitations"


def fresh(api: Api) -> str:
    """The key of an administrator of a tenant that nobody else uses."""
    tenant = f"t{secrets.token_hex(4)}"
    return str(api.key("*", tenant=tenant)["key"])


def test_a_key_is_shown_once_and_listed_without_itself(api: Api) -> None:
    admin = fresh(api)
    wish = {
        "name": "ingest", "permissions": ["documents:write:orders", "health:read"], "rate_limit_per_minute": 10,
        "rate_limit_per_day": 20, "networks": ["10.0.0.0/8", "2001:db8::/32"], "expires_in": 3600,
    }  # fmt: skip
    made = api.good("POST", KEYS, admin, wish)
    key = made.pop("key")
    assert key.startswith("pk_")
    assert made["hint"] == key[:10]
    assert made["permissions"] == wish["permissions"]
    assert (made["rate_limit_per_minute"], made["rate_limit_per_day"]) == (10, 20)
    assert made["networks"] == wish["networks"]
    listed = api.good("GET", KEYS, admin)
    assert [each for each in listed["items"] if each["id"] == made["id"]] == [made]
    assert api.good("GET", f"{KEYS}/{made['id']}", admin) == made
    for path in (KEYS, f"{KEYS}/{made['id']}"):
        assert key not in api.send("GET", path, admin).body.decode()


@pytest.mark.parametrize(
    ("wish", "shown"),
    [
        ({}, {"rate_limit_per_minute": 60, "rate_limit_per_day": 10_000, "window": "", "rate": "", "quota": ""}),
        ({"window": "5/second"}, {"rate_limit_per_minute": 0, "window": "5/second", "rate_limit_per_day": 10_000}),
        ({"rate": "600/minute", "burst": 60}, {"rate_limit_per_minute": 0, "rate": "600/minute", "burst": 60}),
        ({"quota": "7/day"}, {"rate_limit_per_day": 0, "quota": "7/day", "rate_limit_per_minute": 60}),
    ],
)
def test_limits_replace_their_defaults(api: Api, wish: dict[str, Any], shown: dict[str, Any]) -> None:
    made = api.good("POST", KEYS, api.admin, {"name": "limits", **wish})
    assert {name: made[name] for name in shown} == shown


def test_lists_come_in_pages(api: Api) -> None:
    admin = fresh(api)
    made = [api.good("POST", KEYS, admin, {"name": f"k{index}"})["id"] for index in range(5)]
    found: list[str] = []
    cursor = ""
    while True:
        page = api.good("GET", f"{KEYS}?limit=2{cursor}", admin)
        assert len(page["items"]) <= 2
        found += [each["id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&after={page['next_cursor']}"
    assert found[1:] == made  # the first is the administrator's own


def test_a_key_revoked_by_an_administrator_is_refused_within_a_second(api: Api) -> None:
    made = api.key()
    assert api.call("GET", "/auth/profile", made["key"])[0] == 200
    assert api.call("DELETE", f"{KEYS}/{made['id']}", api.admin) == (204, None)
    within(1, lambda: api.call("GET", "/auth/profile", made["key"])[0] == 401)
    assert api.good("GET", f"{KEYS}/{made['id']}", api.admin)["is_active"] is False
    assert api.call("DELETE", f"{KEYS}/{made['id']}", api.admin) == (204, None)  # once more does no harm


def test_a_key_rotated_by_an_administrator_has_its_grace(api: Api) -> None:
    made = api.key("documents:read")
    new = api.good("POST", f"{KEYS}/{made['id']}/rotate", api.admin, {"grace_seconds": 300})
    assert (new["replaces"], new["permissions"]) == (made["id"], ["documents:read"])
    for key in (made["key"], new["key"]):
        assert api.call("GET", "/auth/profile", key)[0] == 200
    status, problem = api.call("POST", f"{KEYS}/{made['id']}/rotate", api.admin)
    assert (status, problem["code"]) == (409, "taken")


def test_users_under_their_alias_too(api: Api) -> None:
    admin = fresh(api)
    made = api.good("POST", "/admin/users", admin, {"email": f"{secrets.token_hex(5)}@example.com"})
    assert made["has_password"] is False
    assert api.good("GET", "/admin/users", admin)["items"] == [made]
    assert api.good("GET", f"/admin/users/{made['id']}", admin) == made
    changed = api.good("PATCH", f"{USERS}/{made['id']}", admin, {"name": "Zoë", "roles": ["viewer"]})
    assert (changed["name"], changed["roles"], changed["email"]) == ("Zoë", ["viewer"], made["email"])
    api.good("PATCH", f"{USERS}/{made['id']}", admin, {"password": PASSWORD})
    api.login(made["email"])
    status, problem = api.call("POST", USERS, admin, {"email": made["email"].upper()})
    assert (status, problem["code"]) == (409, "taken")


def test_a_role_that_is_none_is_refused_by_name(api: Api) -> None:
    status, problem = api.call("POST", USERS, api.admin, {"email": "r@example.com", "roles": ["amdin"]})
    assert (status, problem["code"]) == (422, "unknown_role")
    assert "amdin" in problem["detail"]
    assert "admin" in problem["hint"]


def test_someone_whose_role_is_no_more_can_still_be_changed_and_disabled() -> None:
    roles = {"clerk": ["orders:read"], "helper": ["users:*"]}
    with running(config={"roles": roles}) as api:
        person, boss = api.person(("clerk", "user")), api.person(("admin", "clerk"))
        helper = api.token(("helper",))
        api.gateway.rewrite({"server": BEHIND_PROXY, "roles": {"helper": roles["helper"]}})
        api.gateway.reload()
        path = f"/api/v1/admin/users/{person['id']}"
        assert api.good("PATCH", path, api.admin, {"disabled": True})["disabled"] is True
        assert api.good("PATCH", path, api.admin, {"roles": ["user"]})["roles"] == ["user"]
        assert api.call("PATCH", path, api.admin, {"roles": ["clerk"]})[1]["code"] == "unknown_role"
        refused = api.call("PATCH", f"/api/v1/admin/users/{boss['id']}", helper, {"disabled": True})
        assert (refused[0], refused[1]["code"]) == (403, "more_than_own")


def test_nobody_hands_on_or_takes_over_more_than_they_have(api: Api) -> None:
    root = api.key("*")
    some = api.key("keys:*", "users:*", "documents:read")["key"]
    boss = api.person(("admin",))
    refused: list[tuple[str, str, Any]] = [
        ("POST", KEYS, {"name": "x", "permissions": ["*"]}),
        ("POST", KEYS, {"name": "x", "permissions": ["documents:write"]}),
        ("POST", KEYS, {"name": "x", "permissions": ["*:read"]}),
        ("POST", f"{KEYS}/{root['id']}/rotate", None),
        ("POST", USERS, {"email": "more@example.com", "roles": ["admin"]}),
        ("PATCH", f"{USERS}/{boss['id']}", {"password": "taken over now"}),
        ("PATCH", f"{USERS}/{boss['id']}", {"disabled": True}),
        ("POST", INVITATIONS, {"roles": ["admin"]}),
        ("POST", INVITATIONS, {"roles": [], "permissions": ["documents:*"]}),
    ]
    for method, path, body in refused:
        status, problem = api.call(method, path, some, body)
        assert (status, problem["code"]) == (403, "more_than_own"), (method, path, body)
    mine = ["keys:read", "users:write:42", "documents:read", "documents:read:orders"]
    made = api.good("POST", KEYS, some, {"name": "x", "permissions": mine})
    assert made["permissions"] == mine
    assert api.call("DELETE", f"{KEYS}/{root['id']}", some)[0] == 204  # taking away is not handing on


def test_operators_see_people_and_don_t_make_them(api: Api) -> None:
    token = api.token(("operator",))
    assert api.call("GET", USERS, token)[0] == 200
    status, problem = api.call("POST", USERS, token, {"email": "x@example.com"})
    assert (status, problem["code"]) == (403, "permission_missing")


def test_an_administrator_of_the_home_tenant_acts_for_others_and_nobody_else_does(api: Api) -> None:
    made = api.key("keys:*", tenant="elsewhere")
    listed = api.good("GET", f"{KEYS}?tenant=elsewhere", api.admin)["items"]
    assert made["id"] in [each["id"] for each in listed]
    for who in (made["key"], api.key("keys:*")["key"]):
        for tenant in ("elsewhere2", "default" if who == made["key"] else "elsewhere"):
            status, problem = api.call("GET", f"{KEYS}?tenant={tenant}", who)
            assert (status, problem["code"]) == (403, "other_tenant")
            status, problem = api.call("POST", KEYS, who, {"name": "x", "tenant": tenant})
            assert (status, problem["code"]) == (403, "other_tenant")
