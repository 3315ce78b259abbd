"""Two tenants and two persons, each tried against the other on every path that names or lists something.

The paths are those of the OpenAPI document, so that a new one is either tried here or makes this fail.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e import doubts
from tests.e2e.api import Api, within

# Paths without anything of anyone's: public ones, and those that only make something or speak of the gateway itself.
OF_NOBODY = {
    ("get", "/api/v1/public/status"), ("get", "/api/v1/public/docs"), ("get", "/api/v1/admin/status"),
    ("get", "/api/v1/auth/jwks.json"), ("post", "/api/v1/auth/register"), ("post", "/api/v1/auth/login"),
    ("post", "/api/v1/auth/refresh"), ("post", "/api/v1/admin/keys"), ("post", "/api/v1/admin/users"),
    ("post", "/api/v1/admin/invitations"), ("post", "/api/v1/scheduler/tasks"), ("post", "/api/v1/detect"),
    ("post", "/api/v1/detect/batch"), ("post", "/api/v1/detect/async"),
}  # fmt: skip
# Of the caller alone, whom nothing in the request names.
OWN = {
    ("get", "/api/v1/auth/profile"), ("patch", "/api/v1/auth/profile"), ("post", "/api/v1/auth/rotate-key"),
    ("delete", "/api/v1/auth/revoke"), ("post", "/api/v1/auth/logout"),
    ("post", "/api/v1/webhooks/register"), ("get", "/api/v1/webhooks/list"), ("post", "/api/v1/webhooks/test"),
    ("get", "/api/v1/webhooks/default-secret"), ("post", "/api/v1/webhooks/default-secret"),
}  # fmt: skip
# Of what was counted, tried in test_usage.py: nothing is there before something was.
COUNTED = {("get", "/api/v1/admin/stats"), ("get", "/api/v1/admin/usage"), ("get", "/api/v1/admin/requests")}
LISTS = {
    "/api/v1/auth/sessions", "/api/v1/admin/keys", "/api/v1/admin/users", "/api/v1/admin/jobs",
    "/api/v1/scheduler/tasks", "/api/v1/detect/reviews",
}  # fmt: skip
# A tenant sees its own: tests/e2e/test_audit.py, test_detect_reviews.py
RECORDS = {("get", "/api/v1/admin/audit"), ("get", "/api/v1/detect/reviews/export")}
NAMED = LISTS | {"/api/v1/admin/usage"}  # what has something at {id}
# Of the caller alone as well, by their ids.
MINE = {"/api/v1/webhooks", "/api/v1/webhooks/deliveries", "/api/v1/detect/jobs"}
CLOSED = "http://127.0.0.1:9/"  # where nothing listens
TASK = {"kind": "http.call", "payload": {"url": "http://127.0.0.2:1/"}, "cron": "0 0 1 1 *"}
BODIES: dict[str, Any] = {
    "patch": {"name": "taken"}, "post": {}, "/api/v1/detect/reviews/{id}/decide": {"decision": "benign"},
}  # fmt: skip


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
    task = api.good("POST", "/api/v1/scheduler/tasks", session["access_token"], {**TASK, "name": tenant})
    job = api.good("POST", f"/api/v1/scheduler/tasks/{task['id']}/run", session["access_token"])
    over = ("failed", "succeeded")
    shown = f"/api/v1/admin/jobs/{job['job']}"
    within(20.0, lambda: api.good("GET", shown, session["access_token"])["state"] in over)
    things = {
        "/api/v1/admin/keys": key["id"], "/api/v1/admin/users": person["id"],
        "/api/v1/auth/sessions": session["session_id"], "/api/v1/admin/usage": key["id"],
        "/api/v1/scheduler/tasks": task["id"], "/api/v1/admin/jobs": job["job"],
    }  # fmt: skip
    quiet = {"url": CLOSED, "events": ["webhook_disabled"]}  # nothing of which happens here
    hook = api.good("POST", "/webhooks/register", session["access_token"], quiet)["id"]
    tested = api.good("POST", "/webhooks/test", session["access_token"], {"id": hook})["delivery_id"]
    things |= {"/api/v1/webhooks": hook, "/api/v1/webhooks/deliveries": tested}
    things["/api/v1/detect/reviews"] = doubts.put(api, "a text that waits", tenant=tenant)[0]
    things["/api/v1/detect/jobs"] = api.good("POST", "/v1/detect/async", session["access_token"], {"text": "a"})[
        "job_id"
    ]
    return Side(session["access_token"], key["key"], person, things, tenant)


@pytest.fixture
def sides(api: Api) -> tuple[Side, Side]:
    return side(api, f"a-{secrets.token_hex(4)}"), side(api, f"b-{secrets.token_hex(4)}")


def operations(api: Api) -> list[tuple[str, str]]:
    document = api.good("GET", "/openapi.json")
    return [(method, path) for path, item in document["paths"].items() for method in item]


def body(method: str, path: str) -> Any:
    """One that is taken, were the thing there."""
    return BODIES.get(path, BODIES.get(method))


def kind(path: str) -> str:
    """The list that a path's {id} is of."""
    return path.partition("/{id}")[0]


def test_every_path_is_known_to_this_test(api: Api) -> None:
    for method, path in operations(api):
        known = (method, path) in OF_NOBODY | OWN | COUNTED | RECORDS or (method == "get" and path in LISTS)
        assert known or kind(path) in NAMED | MINE, f"{method} {path}: say in this test whose things it shows"


def test_nothing_of_another_tenant_is_seen_changed_or_ended(api: Api, sides: tuple[Side, Side]) -> None:
    tried = 0
    for mine, theirs in (sides, sides[::-1]):
        before = picture(api, theirs)
        for method, path in operations(api):
            if "{id}" not in path:
                continue
            for who in (mine.token, mine.key):
                target = path.replace("{id}", theirs.things[kind(path)])
                status, problem = api.call(method.upper(), target, who, body(method, path))
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
                answer = api.call(method.upper(), path.replace("{id}", name), mine.token, body(method, path))[1]
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
    for path in sorted(LISTS - {"/api/v1/auth/sessions"}):
        for who in (mine.token, mine.key):
            assert api.call("GET", f"{path}?tenant={theirs.tenant}", who)[0] == 403
    for path, body in (
        ("/api/v1/admin/keys", {"name": "x"}),
        ("/api/v1/admin/users", {"email": "x@example.com"}),
        ("/api/v1/admin/invitations", {}),
        ("/api/v1/scheduler/tasks", {**TASK, "name": "x"}),
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


def test_two_callers_of_one_tenant_have_their_webhooks_to_themselves(api: Api) -> None:
    one, other = (api.key(tenant="tenant-d")["key"] for _ in range(2))
    api.good("POST", "/webhooks/default-secret", one)
    assert api.good("GET", "/webhooks/default-secret", other) == {"created_at": None}
    for mine, theirs in ((one, other), (other, one)):
        hook = api.good("POST", "/webhooks/register", mine, {"url": CLOSED})["id"]
        sent = api.good("POST", "/webhooks/test", mine, {"id": hook})["delivery_id"]
        assert hook not in json.dumps(api.good("GET", "/webhooks/list", theirs))
        for method, path in (
            ("DELETE", f"/webhooks/{hook}"),
            ("POST", f"/webhooks/{hook}/enable"),
            ("POST", f"/webhooks/{hook}/rotate-secret"),
            ("GET", f"/webhooks/{hook}/deliveries"),
            ("POST", f"/webhooks/deliveries/{sent}/replay"),
        ):
            assert api.call(method, path, theirs)[0] == 404, (method, path)
        assert api.call("POST", "/webhooks/test", theirs, {"id": hook})[0] == 404


def picture(api: Api, side: Side) -> list[Any]:
    """All that can be seen of one side, but for when it was used."""
    shown = [api.good("GET", path, side.token) for path in sorted(LISTS)]
    for page in shown:
        for each in page["items"]:
            each.pop("last_used_at", None)
    jobs = shown[sorted(LISTS).index("/api/v1/admin/jobs")]  # they go on by themselves meanwhile
    jobs["items"] = [(each["id"], each["state"] == "cancelled") for each in jobs["items"]]
    hooks = [api.good("GET", f"/webhooks/{path}", side.token) for path in ("list", "default-secret")]
    sent = api.good("GET", f"/webhooks/{side.things['/api/v1/webhooks']}/deliveries", side.token)
    profile = api.good("GET", "/auth/profile", side.token)
    profile.pop("usage")  # looking at it is use
    return [*shown, *hooks, sent, profile]
