from __future__ import annotations

from typing import Any

import pytest
from tests.unit.edge.policies.kit import context, exchange, lines, refused

from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies.cors import Origins, build

CONFIG: dict[str, Any] = {
    "origins": ["https://app.example.com", "https://*.example.org"],
    "methods": ["GET", "PUT"],
    "headers": ["X-Team", "Content-Type"],
    "credentials": True,
    "max_age": 600,
}
OPEN: dict[str, Any] = {"origins": ["*"], "methods": ["*"], "headers": ["*"], "credentials": False, "max_age": 5}


def preflight(origin: bytes, method: bytes, headers: bytes | None = None) -> Exchange:
    block = b"\r\nOrigin: " + origin + b"\r\nAccess-Control-Request-Method: " + method
    if headers is not None:
        block += b"\r\nAccess-Control-Request-Headers: " + headers
    return exchange(block, method=b"OPTIONS")


def cors(config: dict[str, Any], **changed: Any) -> Step:
    return build({**config, **changed}, context())


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (b"https://app.example.com", True),
        (b"http://app.example.com", False),
        (b"https://app.example.com:8443", False),
        (b"https://app.example.com.evil.com", False),
        (b"https://a.example.org", True),
        (b"https://a.b.example.org", True),
        (b"https://example.org", False),
        (b"https://.example.org", False),
        (b"https://evil.com/.example.org", False),
        (b"https://evil.com:1.example.org", False),
        (b"https://evil.com#.example.org", False),
        (b"https://u@a.example.org", False),
        (b"https://evilexample.org", False),
        (b"http://a.example.org", False),
        (b"null", False),
        (b"", False),
    ],
)
def test_origins(origin: bytes, allowed: bool) -> None:
    assert Origins(CONFIG["origins"]).allow(origin) is allowed


def test_a_pattern_may_name_a_port() -> None:
    origins = Origins(["https://*.example.org:8443"])
    assert origins.allow(b"https://a.example.org:8443")
    assert not origins.allow(b"https://a.example.org")


def test_a_preflight_is_answered() -> None:
    answer = cors(CONFIG).check(preflight(b"https://app.example.com", b"PUT", b"content-type, X-TEAM"))
    assert isinstance(answer, Response)
    assert (answer.status, answer.body, answer.code) == (204, b"", "")
    assert lines(answer.fields) == {
        "access-control-allow-origin": "https://app.example.com",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, PUT",
        "access-control-allow-headers": "content-type, x-team",
        "access-control-max-age": "600",
        "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT"])
def test_methods_that_need_no_permission_need_none(method: bytes) -> None:
    answer = cors(CONFIG).check(preflight(b"https://app.example.com", method))
    assert isinstance(answer, Response)
    assert answer.status == 204


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        (b"https://evil.com", b"GET", None),
        (b"null", b"GET", None),
        (b"https://app.example.com", b"DELETE", None),
        (b"https://app.example.com", b"put", None),
        (b"https://app.example.com", b"GET", b"x-other"),
        (b"https://app.example.com", b"GET", b"x-team, x-other"),
        (b"https://app.example.com", b"GET", b"x team"),
        (b"https://app.example.com", b"", None),
    ],
)
def test_a_preflight_for_what_is_not_allowed_is_403(origin: bytes, method: bytes, headers: bytes | None) -> None:
    answer = cors(CONFIG).check(preflight(origin, method, headers))
    refused(answer, 403, "cors_denied")
    assert b"Access-Control-Allow" not in answer.fields  # type: ignore[union-attr]


def test_stars() -> None:
    answer = cors(OPEN).check(preflight(b"https://any.example", b"DELETE", b"Authorization,X-A"))
    told = lines(answer.fields)  # type: ignore[union-attr]
    assert told["access-control-allow-origin"] == "*"
    assert told["access-control-allow-methods"] == "DELETE"
    assert told["access-control-allow-headers"] == "authorization, x-a"
    assert "access-control-allow-credentials" not in told
    refused(cors(OPEN).check(preflight(b"https://any.example", b"GET", b"a b")), 403, "cors_denied")
    refused(cors(OPEN).check(preflight(b"https://any.example", b"G T")), 403, "cors_denied")


def test_credentials_are_never_for_everyone() -> None:
    asked = exchange(b"\r\nOrigin: https://evil.com")
    assert cors(OPEN, credentials=True).check(asked) is None
    assert lines(asked.response_fields) == {"access-control-allow-origin": "*"}


def test_other_requests_go_on_and_their_answers_may_be_read() -> None:
    asked = exchange(b"\r\nOrigin: https://app.example.com")
    assert cors(CONFIG).check(asked) is None
    assert lines(asked.response_fields) == {
        "access-control-allow-origin": "https://app.example.com",
        "access-control-allow-credentials": "true",
        "vary": "Origin",
    }


@pytest.mark.parametrize("block", [b"", b"\r\nOrigin: https://evil.com"])
def test_a_request_from_elsewhere_goes_on_without_permission(block: bytes) -> None:
    asked = exchange(block)
    assert cors(CONFIG).check(asked) is None
    assert lines(asked.response_fields) == {"vary": "Origin"}


def test_what_the_upstream_says_is_dropped() -> None:
    asked = exchange(b"\r\nOrigin: https://evil.com")
    cors(CONFIG).check(asked)
    assert asked.response_edit is not None
    theirs = b"\r\naccess-control-allow-origin: *\r\nAccess-Control-Allow-Credentials: true\r\nX: 1"
    assert asked.response_edit.apply(theirs) == b"\r\nX: 1"


@pytest.mark.parametrize(
    "block", [b"", b"\r\nOrigin: https://app.example.com", b"\r\nAccess-Control-Request-Method: GET"]
)
def test_options_that_is_no_preflight_goes_on_if_the_route_takes_it(block: bytes) -> None:
    for methods in ((), ("GET", "OPTIONS")):
        step = build(CONFIG, context(methods=methods))
        assert step.check(exchange(block, method=b"OPTIONS")) is None
    refusal = build(CONFIG, context(methods=("GET", "PUT"))).check(exchange(block, method=b"OPTIONS"))
    refused(refusal, 405, "method_not_allowed")
    assert lines(refusal.fields)["allow"] == "GET, HEAD, PUT"  # type: ignore[union-attr]


def test_no_origin_can_write_into_the_answer() -> None:
    asked = exchange(b"\r\nOrigin: https://a.example.org")
    cors(CONFIG).check(asked)
    assert asked.response_fields.count(b"\r\n") == 3
