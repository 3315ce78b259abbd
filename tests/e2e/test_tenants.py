"""Two tenants and two persons, each tried against the other on every path that names or lists something.

The paths are those of the OpenAPI document, so that a new one is either tried here or makes this fail.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.api import Api

# Paths without anything of anyone's: public ones, and those that only make something or speak of the gateway itself.
OF_NOBODY = {
    ("get", "/api/v1/public/status"), ("get", "/api/v1/public/docs"), ("get", "/api/v1/admin/status"),
    ("get", "/api/v1/auth/jwks.json"), ("post", "/api/v1/auth/register"), ("post", "/api/v1/auth/login"),
    ("post", "/api/v1/auth/refresh"), ("post", "/api/v1/admin/keys"), ("post", "/api/v1/admin/users"),
    ("post", "/api/v1/admin/invitations"),
}  # fmt: skip
# Of the caller alone, whom nothing in the request names.
OWN = {
    ("get", "/api/v1/auth/profile"), ("patch", "/api/v1/auth/profile"), ("post", "/api/v1/auth/rotate-key"),
    ("delete", "/api/v1/auth/revoke"), ("post", "/api/v1/auth/logout"),
}  # fmt: skip
LISTS = {"/api/v1/auth/sessions", "/api/v1/admin/keys", "/api/v1/admin/users"}
BODIES: dict[str, Any] = {"patch": {"name": "taken"}, "post": {}}


@dataclass
class Side:
    """What one tenant has: what it calls with, and the ids of its things by the path that names them."""

    token: str
    key: str
    person: dict[str, Any]
    things: dict[str, str]
    tenant: str


def side(api: Api, tenant: str) -> Side:
    person = api.person(("admin",), tenant)
    session = api.login(person["email"])
    key = api.key("*", tenant=tenant)
    things = {
        "/api/v1/admin/keys": key["id"], "/api/v1/admin/users": person["id"],
        "/api/v1/auth/sessions": session["session_id"],
    }  # fmt: skip
    return Side(session["access_token"], key["key"], person, things, tenant)


@pytest.fixture
def sides(api: Api) -> tuple[Side, Side]:
    return side(api, f"a-{secrets.token_hex(4)}"), side(api, f"b-{secrets.token_hex(4)}")


def operations(api: Api) -> list[tuple[str, str]]:
    document = api.good("GET", "/openapi.json")
    return [(method, path) for path, item in document["paths"].items() for method in item]


def kind(path: str) -> str:
    """The list that a path's {id} is of."""
    return path.partition("/{id}")[0]


def test_every_path_is_known_to_this_test(api: Api) -> None:
    for method, path in operations(api):
        known = (method, path) in OF_NOBODY | OWN or (method == "get" and path in LISTS)
        assert known or kind(path) in LISTS, f"{method} {path}: say in this test whose things it shows"


def test_nothing_of_another_tenant_is_seen_changed_or_ended(api: Api, sides: tuple[Side, Side]) -> None:
    tried = 0
    for mine, theirs in (sides, sides[::-1]):
        before = picture(api, theirs)
        for method, path in operations(api):
            if "{id}" not in path:
                continue
            for who in (mine.token, mine.key):
                target = path.replace("{id}", theirs.things[kind(path)])
                status, problem = api.call(method.upper(), target, who, BODIES.get(method))
                expected = (401,) if path.startswith("/api/v1/auth/sessions") and who == mine.key else (404,)
                assert status in expected, (method, path, status, problem)
                assert json.dumps(problem).find(theirs.person["email"]) < 0
                tried += 1
        assert picture(api, theirs) == before
    assert tried >= 20


def test_another_tenant_s_things_look_like_none_at_all(api: Api, sides: tuple[Side, Side]) -> None:
    mine, theirs = sides
    nothing = "01890000-0000-7000-8000-000000000000"
    for method, path in operations(api):
        if "{id}" in path:
            answers = []
            for name in (theirs.things[kind(path)], nothing):
                answer = api.call(method.upper(), path.replace("{id}", name), mine.token, BODIES.get(method))[1]
                answer.pop("request_id")
                answers.append(answer)
            assert answers[0] == answers[1], (method, path)


def test_lists_hold_the_caller_s_own_only(api: Api, sides: tuple[Side, Side]) -> None:
    for mine, theirs in (sides, sides[::-1]):
        for path in sorted(LISTS):
            items = api.good("GET", path, mine.token)["items"]
            assert mine.things[path] in [each["id"] for each in items]
            text = json.dumps(items)
            for secret in (*theirs.things.values(), theirs.person["email"], theirs.tenant):
                assert secret not in text, path
            # A cursor of another tenant leads nowhere else.
            after = api.good("GET", f"{path}?after={theirs.things[path]}", mine.token)["items"]
            assert theirs.tenant not in json.dumps(after)


def test_another_tenant_can_t_be_named(api: Api, sides: tuple[Side, Side]) -> None:
    mine, theirs = sides
    for path in ("/api/v1/admin/keys", "/api/v1/admin/users"):
        for who in (mine.token, mine.key):
            assert api.call("GET", f"{path}?tenant={theirs.tenant}", who)[0] == 403
    for path, body in (
        ("/api/v1/admin/keys", {"name": "x"}),
        ("/api/v1/admin/users", {"email": "x@example.com"}),
        ("/api/v1/admin/invitations", {}),
    ):
        assert api.call("POST", path, mine.token, {**body, "tenant": theirs.tenant})[0] == 403
    owned = {"name": "x", "owner": theirs.person["id"]}
    assert api.call("POST", "/api/v1/admin/keys", mine.token, owned)[0] == 404


def test_two_persons_of_one_tenant_have_their_sessions_and_profiles_to_themselves(api: Api) -> None:
    one, other = (api.login(api.person(("user",), "tenant-c")["email"]) for _ in range(2))
    for mine, theirs in ((one, other), (other, one)):
        path = "/api/v1/auth/sessions"
        listed = [each["id"] for each in api.good("GET", path, mine["access_token"])["items"]]
        assert listed == [mine["session_id"]]
        assert api.call("DELETE", f"{path}/{theirs['session_id']}", mine["access_token"])[0] == 404
        assert api.call("GET", "/auth/profile", theirs["access_token"])[0] == 200
        for admin in ("/api/v1/admin/keys", "/api/v1/admin/users"):
            assert api.call("GET", admin, mine["access_token"])[0] == 403
    profiles = [api.good("GET", "/auth/profile", each["access_token"]) for each in (one, other)]
    api.good("PATCH", "/auth/profile", one["access_token"], {"name": "one"})
    assert api.good("GET", "/auth/profile", other["access_token"]) == profiles[1]


def picture(api: Api, side: Side) -> list[Any]:
    """All that can be seen of one side, but for when it was used."""
    shown = [api.good("GET", path, side.token) for path in sorted(LISTS)]
    for each in shown[0]["items"]:
        each.pop("last_used_at", None)
    return [*shown, api.good("GET", "/auth/profile", side.token)]
