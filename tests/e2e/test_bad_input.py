"""Bodies, paths and queries that are meant to break a service: each is refused as a problem, and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.api import PASSWORD, Api

SURROGATE = b"\\ud800"
# Name → a body for a path that wants {"name": …}, and the status that it deserves.
BODIES: dict[str, tuple[bytes, int]] = {
    "empty object": (b"{}", 422),
    "nothing": (b"", 422),
    "no json": (b"{", 400),
    "two texts": (b'{"name":"a"}{}', 400),
    "a list": (b"[]", 422),
    "a number": (b"1", 422),
    "null": (b"null", 422),
    "deep lists": (b"[" * 10_000 + b"]" * 10_000, 400),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "deep lists that never end": (b"[" * 60_000, 400),
    "a little too deep": (b'{"name":' + b"[" * 65 + b"]" * 65 + b"}", 400),
    "a name twice": (b'{"name":"a","name":"b"}', 400),
    "a name twice further in": (b'{"name":"a","permissions":[{"a":1,"a":2}]}', 400),
    "NUL": (b'{"name":"a\\u0000b"}', 400),
    "NUL in a name": (b'{"na\\u0000me":"a"}', 400),
    "raw NUL": (b'{"name":"a\x00b"}', 400),
    "lone surrogate": (b'{"name":"' + SURROGATE + b'"}', 400),
    "lone surrogate in a name": (b'{"' + SURROGATE + b'":"a"}', 400),
    "swapped surrogates": (b'{"name":"\\udc00\\ud800"}', 400),
    "no UTF-8": (b'{"name":"\xff\xfe"}', 400),
    "overlong UTF-8": (b'{"name":"\xc0\x80"}', 400),
    "UTF-16": ('{"name":"a"}'.encode("utf-16"), 400),
    "byte order mark": (b'\xef\xbb\xbf{"name":"a"}', 400),
    "NaN": (b'{"name":"a","burst":NaN}', 400),
    "infinity": (b'{"name":"a","burst":-Infinity}', 400),
    "1e999": (b'{"name":"a","burst":1e999}', 400),
    "a million digits": (b'{"name":"a","burst":' + b"9" * 50_000 + b"}", 400),
    "a long fraction": (b'{"name":"a","burst":0.' + b"9" * 50_000 + b"}", 400),
    "leading zero": (b'{"name":"a","burst":01}', 400),
    "hexadecimal": (b'{"name":"a","burst":0x10}', 400),
    "comment": (b'{"name":"a"}//', 400),
    "trailing comma": (b'{"name":"a",}', 400),
    "single quotes": (b"{'name':'a'}", 400),
    "control character": (b'{"name":"a\nb"}', 400),
    "beyond 64 bits": (b'{"name":"a","expires_in":9223372036854775808}', 422),
    "negative": (b'{"name":"a","rate_limit_per_day":-1}', 422),
    "a fraction": (b'{"name":"a","rate_limit_per_day":1.5}', 422),
    "a number as text": (b'{"name":"a","rate_limit_per_day":"1"}', 422),
    "a truth value as number": (b'{"name":"a","rate_limit_per_day":true}', 422),
    "a number as name": (b'{"name":1}', 422),
    "unknown name": (b'{"name":"a","is_admin":true}', 422),
    "prototype": (b'{"name":"a","__proto__":{"x":1}}', 422),
    "blank name": (b'{"name":"   "}', 422),
    "control characters in a name": (b'{"name":"a\\u001b[2Jb"}', 422),
    "a name with a line break": (b'{"name":"a\\nb"}', 422),
    "bidirectional override": ('{"name":"a\u202eb"}'.encode(), 422),
    "a name of 10,000": (b'{"name":"' + b"a" * 10_000 + b'"}', 422),
    "SQL": (b'{"name":"a","tenant":"x\'; DROP TABLE api_keys;--"}', 422),
    "a permission that is none": (b'{"name":"a","permissions":["everything"]}', 422),
    "too many permissions": (json.dumps({"name": "a", "permissions": ["a:b"] * 101}).encode(), 422),
    "a network that is none": (b'{"name":"a","networks":["10.0.0.0/33"]}', 422),
    "an owner that is nobody": (b'{"name":"a","owner":"01890000-0000-7000-8000-000000000000"}', 404),
    "too large": (b'{"name":"' + b"a" * 70_000 + b'"}', 413),
    "10 MB": (b'{"name":"' + b"a" * 10_000_000 + b'"}', 413),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def nothing_unexpected(served: Api) -> Iterator[None]:
    """Whatever these tests send, the services log no error that nobody expected."""
    yield
    assert "unexpected error" not in served.gateway.output()


def problem(api: Api, method: str, path: str, who: str | None, body: Any, headers: dict[str, str] | None = None) -> Any:
    """The refusal, which has the form of one, and gives nothing back of what was sent."""
    answer = api.send(method, path, who, body, headers)
    assert 400 <= answer.status < 500, (answer.status, answer.body[:500])
    assert answer.header("Content-Type") == "application/problem+json"
    assert len(answer.body) < 20_000
    found = answer.json()
    assert found["status"] == answer.status
    assert {"type", "title", "code", "detail", "hint", "request_id"} <= set(found)
    return found


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body(api: Api, name: str) -> None:
    body, status = BODIES[name]
    assert problem(api, "POST", "/api/v1/admin/keys", api.admin, body)["status"] == status


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/auth/register", "/api/v1/auth/refresh"])
@pytest.mark.parametrize("name", ["deep lists", "NUL", "lone surrogate", "a name twice", "1e999", "10 MB", "no UTF-8"])
def test_a_bad_body_from_anyone(api: Api, path: str, name: str) -> None:
    assert problem(api, "POST", path, None, BODIES[name][0])["status"] == BODIES[name][1]


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/xml", "multipart/form-data; boundary=x", "json", "///"]
)
def test_a_body_of_another_media_type(api: Api, kind: str) -> None:
    found = problem(api, "POST", "/api/v1/admin/keys", api.admin, b'{"name":"a"}', {"Content-Type": kind})
    assert (found["status"], found["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"]
)
def test_json_by_another_name(api: Api, kind: str) -> None:
    body = b'{"name":"a"}'
    assert api.send("POST", "/api/v1/admin/keys", api.admin, body, {"Content-Type": kind}).status == 201


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=201", "limit=1e1", "limit=9223372036854775808", "limit=" + "9" * 5000,
        "limit=%00", "limit=", "after=x", "after=%00", "after=" + "a" * 5000,
        "after=01890000-0000-4000-8000-000000000000", "tenant=%27%20OR%201=1--", "tenant=" + "a" * 65, "tenant=%ff",
        "tenant=",
    ],
)  # fmt: skip
def test_a_bad_query(api: Api, query: str) -> None:
    for path in ("/api/v1/admin/keys", "/api/v1/admin/users"):
        assert problem(api, "GET", f"{path}?{query}", api.admin, None)["status"] == 422


@pytest.mark.parametrize(
    "name",
    [
        "x", "0", "-1", "null", "..%2f..%2fusers", "%27;DROP TABLE people", "01890000-0000-4000-8000-000000000000",
        "01890000-0000-7000-8000-00000000000G", "01890000-0000-7000-8000-000000000000%0a", "a" * 5000, "%F0%9F%98%80",
    ],
)  # fmt: skip
def test_a_bad_id(api: Api, name: str) -> None:
    path = f"/api/v1/admin/keys/{name.replace(' ', '%20')}"
    assert problem(api, "GET", path, api.admin, None)["status"] in (400, 404, 422)


def test_passwords_may_be_anything_but_nul_and_are_not_said_back(api: Api) -> None:
    for password in ("пароль из десяти", "🔑" * 10, "  ten blanks  ", "a" * 1024):
        person = api.good(
            "POST",
            "/api/v1/admin/users",
            api.admin,
            {"email": f"{api.address}@{len(password)}.example", "password": password},
        )
        api.login(person["email"], password)
    for password in ("short", "a" * 1025, "with\0nul characters"):
        body = {"email": "p@example.com", "password": password}
        answer = api.send("POST", "/api/v1/admin/users", api.admin, body)
        assert answer.status in (400, 422)
        assert password not in answer.body.decode()
    wrong = api.send("POST", "/auth/login", None, {"email": "no address", "password": PASSWORD})
    assert wrong.status == 422
    assert PASSWORD not in wrong.body.decode()
    assert "no address" not in wrong.body.decode()


def test_a_key_is_never_taken_from_a_url(api: Api) -> None:
    for name in ("api_key", "key", "access_token", "token", "X-API-Key"):
        assert problem(api, "GET", f"/auth/profile?{name}={api.admin}", None, None)["status"] == 401


def test_security_fields_are_on_every_answer_of_the_services(api: Api) -> None:
    for method, path, who, body in (
        ("GET", "/api/v1/public/status", None, None),
        ("GET", "/auth/profile", api.admin, None),
        ("POST", "/api/v1/admin/keys", api.admin, b"{"),
        ("GET", "/api/v1/admin/keys/01890000-0000-7000-8000-000000000000", api.admin, None),
        ("POST", "/auth/login", None, {"email": "nobody@example.com", "password": "wrong"}),
    ):
        answer = api.send(method, path, who, body)
        assert answer.header("X-Content-Type-Options") == "nosniff"
        assert answer.header("X-Frame-Options") == "DENY"
        assert answer.header("Referrer-Policy") == "no-referrer"
        assert answer.header("Cache-Control") == "no-store"
        assert "default-src 'none'" in (answer.header("Content-Security-Policy") or "")


def test_what_the_edge_answers_itself_is_not_to_be_guessed_at_either(api: Api) -> None:
    for path in ("/health", "/metrics", "/nowhere", "/auth/profile", "/api/v1/admin/keys", "/_portico/keys"):
        answer = api.send("GET", path)
        assert answer.header("X-Content-Type-Options") == "nosniff", path
        assert answer.header("Cache-Control") == "no-store", path
    assert api.send("GET", "/metrics", api.admin).header("X-Content-Type-Options") == "nosniff"
