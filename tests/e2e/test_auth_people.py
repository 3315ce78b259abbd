"""People: log in, refresh, log out, sessions, cookies; over HTTP, on both databases."""

from __future__ import annotations

import time
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
from tests.e2e.api import PASSWORD, Api, within

from portico.testing.client import Answer

LOGIN, REFRESH, LOGOUT = "/auth/login", "/auth/refresh", "/auth/logout"
SESSIONS, PROFILE = "/api/v1/auth/sessions", "/auth/profile"


def status(api: Api, token: str) -> int:
    return api.call("GET", PROFILE, token)[0]


def cookies(answer: Answer) -> dict[str, Morsel[str]]:
    jar: SimpleCookie = SimpleCookie()
    for line in answer.all("set-cookie"):
        jar.load(line)
    return dict(jar)


def test_a_person_logs_in_and_is_who_they_are(api: Api) -> None:
    person = api.person(("user", "viewer"))
    tokens = api.login(person["email"].upper())
    assert tokens["token_type"] == "Bearer"
    assert 0 < tokens["expires_in"] <= 3600
    shown = api.good("GET", PROFILE, tokens["access_token"])
    assert (shown["kind"], shown["id"], shown["email"]) == ("person", person["id"], person["email"])
    assert shown["roles"] == ["user", "viewer"]
    assert "stats:read" in shown["permissions"]


@pytest.mark.parametrize("wrong", ["password", "address", "disabled", "without"])
def test_every_wrong_login_looks_alike(api: Api, wrong: str) -> None:
    person = api.person()
    body = {"email": person["email"], "password": PASSWORD}
    path = f"/api/v1/admin/users/{person['id']}"
    if wrong == "password":
        body["password"] = "another password"
    elif wrong == "address":
        body["email"] = "nobody-" + person["email"]
    elif wrong == "disabled":
        api.good("PATCH", path, api.admin, {"disabled": True})
    else:
        body["email"] = "without-" + person["email"]
        api.good("POST", "/api/v1/admin/users", api.admin, {"email": body["email"]})
    answer = api.send("POST", LOGIN, None, body)
    problem = answer.json()
    assert answer.status == 401
    assert answer.header("WWW-Authenticate") == 'Bearer realm="portico"'
    problem.pop("request_id")
    assert problem == {
        "type": "urn:portico:problem:credentials_wrong",
        "title": "Unauthorized",
        "status": 401,
        "code": "credentials_wrong",
        "detail": "the e-mail address or the password is wrong",
        "hint": "check both",
    }


def test_unknown_and_wrong_take_the_same_time(api: Api) -> None:
    def took(email: str) -> float:
        before = time.perf_counter()
        assert api.send("POST", LOGIN, None, {"email": email, "password": "not the password"}).status == 401
        return time.perf_counter() - before

    known, unknown = [], []
    for index in range(4):
        known.append(took(api.person()["email"]))
        unknown.append(took(f"nobody{index}@example.com"))
    # The fastest of each: what the machine adds is noise, what the password's check takes is there in all.
    assert min(unknown) > 0.5 * min(known)
    assert min(known) > 0.5 * min(unknown)


def test_logging_out_ends_the_token_within_a_second_and_its_session(api: Api) -> None:
    person = api.person()
    first, second = api.login(person["email"]), api.login(person["email"])
    assert status(api, first["access_token"]) == 200
    assert api.call("POST", LOGOUT, first["access_token"]) == (204, None)
    within(1, lambda: status(api, first["access_token"]) == 401)
    assert api.call("POST", REFRESH, None, {"refresh_token": first["refresh_token"]})[0] == 401
    assert status(api, second["access_token"]) == 200


def test_a_refresh_token_is_good_once_and_its_copy_ends_the_session(api: Api) -> None:
    first = api.login(api.person()["email"])
    second = api.good("POST", REFRESH, None, {"refresh_token": first["refresh_token"]})
    assert second["session_id"] == first["session_id"]
    assert second["refresh_token"] != first["refresh_token"]
    assert status(api, second["access_token"]) == 200
    code, problem = api.call("POST", REFRESH, None, {"refresh_token": first["refresh_token"]})
    assert (code, problem["code"]) == (401, "token_reused")
    within(1, lambda: status(api, second["access_token"]) == 401)
    code, problem = api.call("POST", REFRESH, None, {"refresh_token": second["refresh_token"]})
    assert (code, problem["code"]) == (401, "token_unknown")


def test_sessions_are_listed_in_pages_and_ended_one_by_one(api: Api) -> None:
    person = api.person()
    tokens = [api.login(person["email"]) for _ in range(3)]
    mine = tokens[2]["access_token"]
    page = api.good("GET", SESSIONS + "?limit=2", mine)
    rest = api.good("GET", f"{SESSIONS}?limit=2&after={page['next_cursor']}", mine)
    found = page["items"] + rest["items"]
    assert [each["id"] for each in found] == [each["session_id"] for each in tokens]
    assert [each["current"] for each in found] == [False, False, True]
    assert {each["address"] for each in found} == {api.address}
    assert rest["next_cursor"] is None
    assert status(api, tokens[0]["access_token"]) == 200
    api.good("DELETE", f"{SESSIONS}/{tokens[0]['session_id']}", mine)
    within(1, lambda: status(api, tokens[0]["access_token"]) == 401)
    assert len(api.good("GET", SESSIONS, mine)["items"]) == 2
    assert api.call("DELETE", f"{SESSIONS}/{tokens[0]['session_id']}", mine)[0] == 404


def test_a_disabled_person_is_refused_within_a_second_with_tokens_and_keys(api: Api) -> None:
    person = api.person()
    tokens = api.login(person["email"])
    key = api.key(owner=person["id"])["key"]
    assert (status(api, tokens["access_token"]), status(api, key)) == (200, 200)
    path = f"/api/v1/admin/users/{person['id']}"
    assert api.good("PATCH", path, api.admin, {"disabled": True})["disabled"] is True
    within(1, lambda: (status(api, tokens["access_token"]), status(api, key)) == (401, 401))
    api.good("PATCH", path, api.admin, {"disabled": False})
    assert status(api, api.login(person["email"])["access_token"]) == 200
    within(1, lambda: status(api, key) == 200)
    assert status(api, tokens["access_token"]) == 401  # what was ended stays ended


def test_other_roles_count_within_a_second_and_a_new_token_has_them_at_once(api: Api) -> None:
    person = api.person(("operator",))
    tokens = api.login(person["email"])
    assert api.call("GET", "/api/v1/admin/keys", tokens["access_token"])[0] == 200
    api.good("PATCH", f"/api/v1/admin/users/{person['id']}", api.admin, {"roles": ["user"]})
    within(1, lambda: status(api, tokens["access_token"]) == 401)
    again = api.good("POST", REFRESH, None, {"refresh_token": tokens["refresh_token"]})
    assert api.good("GET", PROFILE, again["access_token"])["roles"] == ["user"]
    assert api.call("GET", "/api/v1/admin/keys", again["access_token"])[0] == 403


def test_people_change_their_name_and_password_and_nothing_else(api: Api) -> None:
    person = api.person()
    here, there = api.login(person["email"]), api.login(person["email"])
    assert api.good("PATCH", PROFILE, here["access_token"], {"name": "Ann Ünicode"})["name"] == "Ann Ünicode"
    for body in ({"roles": ["admin"]}, {"tenant": "other"}, {"email": "x@example.com"}, {"id": "x"}):
        assert api.call("PATCH", PROFILE, here["access_token"], body)[0] == 422
    change = {"password": "a new password of mine", "current_password": "wrong"}
    code, problem = api.call("PATCH", PROFILE, here["access_token"], change)
    assert (code, problem["code"]) == (403, "password_wrong")
    change["current_password"] = PASSWORD
    api.good("PATCH", PROFILE, here["access_token"], change)
    within(1, lambda: status(api, there["access_token"]) == 401)
    assert status(api, here["access_token"]) == 200
    api.login(person["email"], "a new password of mine")


def test_who_has_no_permission_to_write_a_profile_can_t(api: Api) -> None:
    code, problem = api.call("PATCH", PROFILE, api.token(("viewer",)), {"name": "other"})
    assert (code, problem["code"]) == (403, "permission_missing")


def browser(
    api: Api, method: str, path: str, jar: dict[str, Any], origin: str | None = None, body: Any = None
) -> Answer:
    """A request with cookies; those whose Path does not lead there stay at home."""
    sent = [f"{name}={each.value}" for name, each in jar.items() if path.startswith(each["path"])]
    fields = {"Cookie": "; ".join(sent)} if sent else {}
    if origin is not None:
        fields["Origin"] = origin
    return api.send(method, path, None, body, fields)


@pytest.mark.parametrize("asked", ["field", "accept"])
def test_a_browser_gets_cookies_that_no_script_and_no_other_site_can_use(api: Api, asked: str) -> None:
    body: dict[str, Any] = {"email": api.person()["email"], "password": PASSWORD}
    fields = {"Accept": "text/html,*/*"} if asked == "accept" else {}
    if asked == "field":
        body["cookie"] = True
    answer = api.send("POST", "/api/v1" + LOGIN, None, body, fields)
    assert answer.status == 200
    assert (answer.json()["access_token"], answer.json()["refresh_token"]) == (None, None)
    jar = cookies(answer)
    assert set(jar) == {"portico_session", "portico_refresh"}
    for each in jar.values():
        assert each["httponly"]
        assert each["samesite"].lower() == "strict"
        assert not each["secure"]  # plain http here; over https it is set
        assert int(each["max-age"]) > 0
    assert (jar["portico_session"]["path"], jar["portico_refresh"]["path"]) == ("/", "/api/v1/auth/refresh")
    assert browser(api, "GET", PROFILE, jar).status == 200


def test_a_browser_s_changes_need_a_page_of_this_gateway(api: Api) -> None:
    person = api.person()
    jar = cookies(api.send("POST", LOGIN, None, {"email": person["email"], "password": PASSWORD, "cookie": True}))
    own = api.gateway.url
    for origin in (None, "null", "https://evil.example", own.replace("http:", "https:"), own + "0"):
        for method, path, body in (
            ("PATCH", PROFILE, {"name": "x"}), ("POST", LOGOUT, None), ("POST", "/api/v1" + REFRESH, {}),
        ):  # fmt: skip
            refused = browser(api, method, path, jar, origin, body)
            assert (refused.status, refused.json()["code"]) == (403, "origin_refused"), (method, path, origin)
    assert browser(api, "PATCH", PROFILE, jar, own, {"name": "mine"}).status == 200
    refreshed = browser(api, "POST", "/api/v1" + REFRESH, jar, own, {})
    assert refreshed.status == 200
    jar = cookies(refreshed)
    assert browser(api, "GET", PROFILE, jar).status == 200
    out = browser(api, "POST", LOGOUT, jar, own)
    assert out.status == 204
    assert {name: each["max-age"] for name, each in cookies(out).items()} == {
        "portico_session": "0", "portico_refresh": "0",
    }  # fmt: skip
    within(1, lambda: browser(api, "GET", PROFILE, jar).status == 401)


def test_a_page_of_another_site_can_t_log_a_browser_in(api: Api) -> None:
    body = {"email": api.person()["email"], "password": PASSWORD, "cookie": True}
    refused = api.send("POST", LOGIN, None, body, {"Origin": "https://evil.example"})
    assert (refused.status, refused.json()["code"]) == (403, "origin_refused")
    assert not refused.all("set-cookie")
    for origin in ("http://[::1", "http://a]b", "null"):
        assert api.send("POST", LOGIN, None, body, {"Origin": origin}).status == 403


def test_refreshing_without_a_token_says_so(api: Api) -> None:
    for body in ({}, None):
        code, problem = api.call("POST", REFRESH, None, body)
        assert (code, problem["code"]) == (401, "refresh_token_missing")


def test_own_public_keys_are_shown_and_no_private_part(api: Api) -> None:
    found = api.good("GET", "/api/v1/auth/jwks.json")["keys"]
    assert [key["alg"] for key in found] == ["EdDSA"]
    assert not {"d", "k"} & set(found[0])


def test_no_secret_is_in_any_log(api: Api) -> None:
    person = api.person()
    tokens = api.login(person["email"])
    key = api.key()["key"]
    next_tokens = api.good("POST", REFRESH, None, {"refresh_token": tokens["refresh_token"]})
    api.call("POST", REFRESH, None, {"refresh_token": tokens["refresh_token"]})
    invitation = api.good("POST", "/api/v1/admin/invitations", api.admin, {})["token"]
    api.call("POST", "/auth/register", None, {"name": "x", "invitation": invitation, "password": "a secret of mine"})
    api.call("POST", LOGIN, None, {"email": person["email"], "password": "a wrong secret"})
    for who in (key, tokens["access_token"], next_tokens["access_token"], "pk_not-a-key", key[:-1] + "x"):
        for path in (PROFILE, "/nowhere", "/api/v1/admin/keys"):
            api.send("GET", path, who)
            api.send("GET", path, headers={"X-API-Key": who})
            api.send("GET", path, headers={"Cookie": f"portico_session={who}"})
    secrets = [PASSWORD, "a secret of mine", "a wrong secret", key, invitation, api.admin]
    for each in (tokens, next_tokens):
        secrets += [each["access_token"], each["refresh_token"]]
    before = len(api.gateway.access_log(at_least=10))
    assert before >= 10
    written = api.gateway.output()
    for file in (api.gateway.data_dir / "logs").iterdir():
        written += file.read_text()
    for secret in secrets:
        assert secret not in written
