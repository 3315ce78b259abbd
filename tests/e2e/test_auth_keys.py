"""API keys in their owners' hands: register, profile, rotate, revoke; over HTTP, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.e2e.api import BEHIND_PROXY, PASSWORD, Api, running, somewhere, within

from portico.identity.keys import hash_key

STATIC = "secret-of-the-file"


@pytest.fixture(scope="module")
def tokens_only() -> Iterator[Api]:
    with running(config={"registration": "token"}) as found:
        yield found


@pytest.fixture(scope="module")
def opened() -> Iterator[Api]:
    keys = [{"id": "static", "sha256": hash_key(STATIC), "permissions": ["a:b"]}]
    with running(config={"registration": "open", "keys": keys}) as found:
        yield found


def profile(api: Api, key: str) -> tuple[int, dict[str, object]]:
    return api.call("GET", "/auth/profile", key)


def test_a_key_sees_itself_under_both_names_and_both_fields(api: Api) -> None:
    made = api.key("documents:read", name="reader", rate_limit_per_day=500)
    for path in ("/auth/profile", "/api/v1/auth/profile"):
        for fields in ({"X-API-Key": made["key"]}, {"Authorization": f"Bearer {made['key']}"}):
            answer = api.send("GET", path, headers=fields)
            assert answer.status == 200
            shown = answer.json()
            assert (shown["kind"], shown["id"], shown["name"]) == ("key", made["id"], "reader")
            assert shown["permissions"] == ["documents:read"]
            assert shown["rate_limit_per_day"] == 500
            assert shown["is_active"] is True
            assert shown["created_at"].endswith("Z")
            assert made["key"] not in answer.body.decode()


def test_last_use_is_noted(api: Api) -> None:
    made = api.key()
    before = time.time() - 1
    assert profile(api, made["key"])[0] == 200
    path = f"/api/v1/admin/keys/{made['id']}"
    within(20, lambda: api.good("GET", path, api.admin)["last_used_at"] is not None)
    used = datetime.fromisoformat(api.good("GET", path, api.admin)["last_used_at"])
    assert before <= used.timestamp() <= time.time()


def test_a_rotated_key_works_until_its_grace_ends_and_the_successor_from_the_start(api: Api) -> None:
    old = api.key("documents:read")
    new = api.good("POST", "/auth/rotate-key", old["key"], {"grace_seconds": 2})
    assert new["replaces"] == old["id"]
    assert new["permissions"] == ["documents:read"]
    ends = datetime.fromisoformat(new["old_key_expires_at"]).timestamp()
    assert profile(api, new["key"])[0] == 200
    assert profile(api, old["key"])[0] == 200
    within(4, lambda: profile(api, old["key"])[0] == 401)
    assert time.time() >= ends - 0.1
    assert profile(api, new["key"])[0] == 200


def test_a_key_rotated_without_grace_is_refused_within_a_second(api: Api) -> None:
    old = api.key()
    assert profile(api, old["key"])[0] == 200  # the edge knows it now
    new = api.good("POST", "/auth/rotate-key", old["key"])
    within(1, lambda: profile(api, old["key"])[0] == 401)
    assert profile(api, new["key"])[0] == 200


def test_a_key_is_rotated_once(api: Api) -> None:
    old = api.key()
    api.good("POST", "/auth/rotate-key", old["key"], {"grace_seconds": 60})
    status, problem = api.call("POST", "/auth/rotate-key", old["key"], {"grace_seconds": 60})
    assert (status, problem["code"]) == (409, "rotated_already")


def test_a_revoked_key_is_refused_within_a_second_of_the_answer(api: Api) -> None:
    for _ in range(3):
        made = api.key()
        assert profile(api, made["key"])[0] == 200
        assert api.call("DELETE", "/auth/revoke", made["key"]) == (204, None)
        within(1, lambda: profile(api, made["key"])[0] == 401)  # noqa: B023


def test_a_key_revoked_by_the_command_line_is_refused_within_a_second(api: Api) -> None:
    made = api.key()
    assert profile(api, made["key"])[0] == 200
    place = ("-c", str(api.gateway.config_path), "--data-dir", str(api.gateway.data_dir))
    done = api.gateway.cli("keys", "revoke", made["id"], *place)
    assert done.returncode == 0, done.stderr
    within(1, lambda: profile(api, made["key"])[0] == 401)


def test_revoking_ends_the_predecessor_in_its_grace_too(api: Api) -> None:
    old = api.key()
    new = api.good("POST", "/auth/rotate-key", old["key"], {"grace_seconds": 600})
    assert profile(api, old["key"])[0] == 200
    api.good("DELETE", "/auth/revoke", new["key"])
    within(1, lambda: profile(api, old["key"])[0] == 401)
    within(1, lambda: profile(api, new["key"])[0] == 401)


def test_a_person_s_token_is_no_key_to_rotate_or_revoke(api: Api) -> None:
    token = api.token()
    for method, path in (("POST", "/auth/rotate-key"), ("DELETE", "/auth/revoke")):
        assert api.call(method, path, token)[0] == 401


def test_a_key_can_t_change_its_profile(api: Api) -> None:
    status, problem = api.call("PATCH", "/auth/profile", api.key("*")["key"], {"name": "other"})
    assert (status, problem["code"]) == (403, "profile_fixed")


def test_registration_is_closed_unless_it_is_opened(api: Api) -> None:
    status, problem = api.call("POST", "/auth/register", None, {"name": "mine"})
    assert (status, problem["code"]) == (403, "registration_closed")


def test_registering_needs_an_invitation_and_uses_it_up(tokens_only: Api) -> None:
    api = tokens_only
    assert api.call("POST", "/auth/register", None, {"name": "mine"})[1]["code"] == "invitation_missing"
    wrong = {"name": "mine", "invitation": "pi_" + "x" * 43}
    assert api.call("POST", "/auth/register", None, wrong)[1]["code"] == "invitation_not_valid"
    wish = {"permissions": ["documents:read"], "roles": ["viewer"]}
    invitation = api.good("POST", "/api/v1/admin/invitations", api.admin, wish)
    made = api.good("POST", "/auth/register", None, {"name": "mine", "invitation": invitation["token"]})
    assert made["permissions"] == ["documents:read"]
    assert profile(api, made["key"])[0] == 200
    again = api.call("POST", "/auth/register", None, {"name": "mine", "invitation": invitation["token"]})
    assert (again[0], again[1]["code"]) == (403, "invitation_not_valid")


def test_many_invitations_are_used_from_one_address_but_few_are_guessed(tokens_only: Api) -> None:
    office = Api(tokens_only.gateway, somewhere())
    for _ in range(8):
        invitation = office.good("POST", "/api/v1/admin/invitations", office.admin, {})
        office.good("POST", "/auth/register", None, {"name": "mine", "invitation": invitation["token"]})
    guess = {"name": "mine", "invitation": "pi_" + "x" * 43}
    statuses = [office.call("POST", "/auth/register", None, guess)[0] for _ in range(9)]
    assert statuses[:5] == [403] * 5
    assert statuses[-1] == 429
    elsewhere = Api(tokens_only.gateway, somewhere())
    assert elsewhere.call("POST", "/auth/register", None, guess)[0] == 403


def test_a_reload_opens_registration_and_gives_a_role_its_permissions(tokens_only: Api) -> None:
    api = tokens_only
    config = {"server": BEHIND_PROXY, "registration": "open", "roles": {"user": ["documents:read"]}}
    token = api.token(("user",))
    api.gateway.rewrite(config)
    api.gateway.reload()
    try:
        assert api.good("POST", "/auth/register", None, {"name": "mine"})["permissions"] == ["documents:read"]
        assert api.good("GET", "/auth/profile", token)["permissions"] == ["documents:read"]
    finally:
        api.gateway.rewrite({"server": BEHIND_PROXY, "registration": "token"})
        api.gateway.reload()
    assert api.call("POST", "/auth/register", None, {"name": "mine"})[1]["code"] == "invitation_missing"
    assert "sessions:own" in api.good("GET", "/auth/profile", token)["permissions"]


def test_an_invitation_by_e_mail_makes_a_person_who_owns_the_key(tokens_only: Api) -> None:
    api = tokens_only
    wish = {"email": "Bea@Example.com", "roles": ["viewer"]}
    invitation = api.good("POST", "/api/v1/admin/invitations", api.admin, wish)
    body = {"name": "bea's", "email": "bea@example.com", "password": PASSWORD, "invitation": invitation["token"]}
    made = api.good("POST", "/auth/register", None, body)
    tokens = api.login("bea@example.com")
    shown = api.good("GET", "/auth/profile", tokens["access_token"])
    assert (shown["kind"], shown["id"], shown["roles"]) == ("person", made["owner"], ["viewer"])


def test_a_registration_that_fails_uses_nothing_up(tokens_only: Api) -> None:
    api = Api(tokens_only.gateway, somewhere())
    invitation = api.good("POST", "/api/v1/admin/invitations", api.admin, {"email": "cas@example.com"})
    body = {"name": "mine", "email": "eve@example.com", "invitation": invitation["token"]}
    status, problem = api.call("POST", "/auth/register", None, body)
    assert (status, problem["code"]) == (403, "invitation_of_another")
    open_to_all = api.good("POST", "/api/v1/admin/invitations", api.admin, {})
    known = api.person()["email"]
    for email, expected in ((known, (409, "taken")), (known, (409, "taken"))):
        body = {"name": "mine", "email": email, "password": PASSWORD, "invitation": open_to_all["token"]}
        status, problem = api.call("POST", "/auth/register", None, body)
        assert (status, problem["code"]) == expected
    for given, email in ((invitation, "cas@example.com"), (open_to_all, "dot@example.com")):
        body = {"name": "mine", "email": email, "password": PASSWORD, "invitation": given["token"]}
        made = api.good("POST", "/auth/register", None, body)
        assert profile(api, made["key"])[0] == 200
        assert api.login(email)["access_token"]


def test_addresses_are_not_to_be_found_out_by_an_invitation(tokens_only: Api) -> None:
    api = Api(tokens_only.gateway, somewhere())
    invitation = api.good("POST", "/api/v1/admin/invitations", api.admin, {})
    body = {"name": "mine", "email": api.person()["email"], "invitation": invitation["token"]}
    statuses = [api.call("POST", "/auth/register", None, body)[0] for _ in range(9)]
    assert statuses[:5] == [409] * 5
    assert statuses[-1] == 429


def test_an_invitation_of_someone_who_was_disabled_is_not_valid(tokens_only: Api) -> None:
    api = Api(tokens_only.gateway, somewhere())
    person = api.person(("admin",))
    token = api.login(person["email"])["access_token"]
    invitation = api.good("POST", "/api/v1/admin/invitations", token, {"roles": ["admin"], "permissions": ["*"]})
    api.good("PATCH", f"/api/v1/admin/users/{person['id']}", api.admin, {"disabled": True})
    status, problem = api.call("POST", "/auth/register", None, {"name": "mine", "invitation": invitation["token"]})
    assert (status, problem["code"]) == (403, "invitation_not_valid")


def test_anyone_registers_where_it_is_open_but_not_without_end(opened: Api) -> None:
    api = opened
    made = api.good("POST", "/auth/register", None, {"name": "mine"})
    assert made["permissions"] == ["profile:*", "sessions:own", "keys:own", "detect:use"]
    assert (made["rate_limit_per_minute"], made["rate_limit_per_day"]) == (60, 10_000)
    assert made["is_active"] is True
    assert profile(api, made["key"])[0] == 200
    statuses = [api.send("POST", "/auth/register", None, {"name": "mine"}).status for _ in range(30)]
    assert 429 in statuses
    refusal = api.send("POST", "/auth/register", None, {"name": "mine"})
    assert refusal.status == 429
    assert int(refusal.header("Retry-After") or 0) >= 1


def test_a_key_of_the_configuration_has_a_profile_and_is_the_operator_s_to_change(opened: Api) -> None:
    shown = opened.good("GET", "/auth/profile", STATIC)
    assert (shown["kind"], shown["id"], shown["permissions"]) == ("key", "static", ["a:b"])
    for method, path in (("POST", "/auth/rotate-key"), ("DELETE", "/auth/revoke")):
        status, problem = opened.call(method, path, STATIC)
        assert (status, problem["code"]) == (409, "key_in_configuration")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def test_what_one_services_process_changes_the_edge_learns_from_any_other(kind: str) -> None:
    with running(kind, {"server": {"services": {"processes": 2}}}) as api:
        for _ in range(4):
            made = api.key()
            assert profile(api, made["key"])[0] == 200
            api.good("DELETE", f"/api/v1/admin/keys/{made['id']}", api.admin)
            within(1, lambda: profile(api, made["key"])[0] == 401)  # noqa: B023
        people = api.good("GET", "/api/v1/admin/users", api.admin)["items"]
        assert [person["name"] for person in people] == ["administrator"]
        keys = api.good("GET", "/api/v1/admin/keys", api.admin)["items"]
        assert [key["name"] for key in keys].count("gateway_token") == 1
