from __future__ import annotations

import pytest
from tests.unit.edge.policies.kit import context, exchange, lines, refused

from portico.contracts import Key
from portico.edge.http1.names import AUTHORIZATION, X_API_KEY
from portico.edge.policies.auth import build, held_of
from portico.identity.apikeys import generate
from portico.identity.keys import hash_key

CONFIG = {"kinds": ["api_key"]}
KEYS = (
    Key("demo", hash_key("pk_demo"), ("users:read",), "acme"),
    Key("other", hash_key("pk_other")),
    Key("dotted", hash_key("a.b.c")),
)


@pytest.mark.parametrize("kinds", [["api_key"], ["api_key", "jwt"], ["api_key", "jwt", "certificate"]])
@pytest.mark.parametrize(
    ("block", "credential"),
    [
        (b"\r\nX-API-Key: pk_demo", X_API_KEY),
        (b"\r\nx-api-key:pk_demo", X_API_KEY),
        (b"\r\nAuthorization: Bearer pk_demo", AUTHORIZATION),
        (b"\r\nAuthorization: bearer  pk_demo", AUTHORIZATION),
        (b"\r\nX-API-Key: pk_demo\r\nAuthorization: Bearer pk_demo", X_API_KEY),
        (b"\r\nX-API-Key: pk_demo\r\nAuthorization: Basic dTpw", X_API_KEY),
    ],
)
def test_a_known_key_makes_the_principal(kinds: list[str], block: bytes, credential: int) -> None:
    step = build({"kinds": kinds}, context(keys=KEYS))
    for _ in range(2):
        asked = exchange(block)
        assert step.check(asked) is None
        assert asked.principal is not None
        assert (asked.principal.id, asked.principal.kind, asked.principal.tenant) == ("demo", "key", "acme")
        assert asked.principal.allows("users:read")
        assert asked.credential == credential


def test_a_key_of_the_file_may_look_like_a_token() -> None:
    asked = exchange(b"\r\nAuthorization: Bearer a.b.c")
    assert build({"kinds": ["api_key", "jwt"]}, context(keys=KEYS)).check(asked) is None
    assert asked.principal is not None
    assert asked.principal.id == "dotted"


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (b"", "credentials_missing"),
        (b"\r\nAuthorization: Basic dTpw", "credentials_missing"),
        (b"\r\nAuthorization: pk_demo", "credentials_missing"),
        (b"\r\nX-API-Key:", "credentials_unknown"),
        (b"\r\nX-API-Key: pk_dem", "credentials_unknown"),
        (b"\r\nX-API-Key: PK_DEMO", "credentials_unknown"),
        (b"\r\nAuthorization: Bearer ", "credentials_missing"),
        (b"\r\nAuthorization: Bearer x", "credentials_unknown"),
        (b"\r\nX-API-Key: pk_demo\r\nAuthorization: Bearer pk_other", "credentials_conflict"),
        (b"\r\nX-API-Key: pk_demo\r\nAuthorization: Bearer pk\xff", "credentials_conflict"),
        (b"\r\nX-API-Key: pk_demo\r\nAuthorization: Bearer e30.e30.e30", "credentials_conflict"),
        pytest.param(  # well-formed, and nobody to ask
            b"\r\nX-API-Key: " + generate().encode(), "credentials_unknown", id="well-formed"
        ),
        (b"\r\nCookie: portico_session=pk_demo", "credentials_missing"),  # not on a route of the file
    ],
)
def test_anything_else_is_401(block: bytes, code: str) -> None:
    asked = exchange(block)
    answer = build(CONFIG, context(keys=KEYS)).check(asked)
    problem = refused(answer, 401, code)
    challenge = lines(answer.fields)["www-authenticate"]  # type: ignore[union-attr]
    assert challenge.startswith('Bearer realm="portico"')
    assert ('error="invalid_token"' in challenge) == (code != "credentials_missing")
    assert "pk_" not in str(problem)
    assert "pk_" not in challenge
    assert asked.principal is None
    assert asked.credential == 0


def test_the_keys_are_made_once_a_snapshot_and_change_with_it() -> None:
    shared: dict[object, object] = {}
    first = context(shared, version=1, keys=KEYS)
    assert held_of(first) is held_of(first)
    second = build(CONFIG, context(shared, version=2, keys=KEYS[1:]))
    refused(second.check(exchange(b"\r\nX-API-Key: pk_demo")), 401, "credentials_unknown")
    assert second.check(exchange(b"\r\nX-API-Key: pk_other")) is None
    assert len(shared) == 2


def test_too_many_wrong_keys_of_one_address_are_slowed_and_right_ones_are_not() -> None:
    step = build(CONFIG, context(keys=KEYS))

    def wrong(now: float, client: bytes = b"192.0.2.1") -> object:
        return step.check(exchange(b"\r\nX-API-Key: pk_wrong", now=now, client=client))

    for number in range(20):
        refused(wrong(float(number)), 401, "credentials_unknown")
    answer = wrong(20.0)
    refused(answer, 429, "too_many_failures")
    assert lines(answer.fields)["retry-after"] == "40"  # type: ignore[attr-defined]
    assert step.check(exchange(b"\r\nX-API-Key: pk_demo", now=21.0)) is None
    refused(wrong(22.0, b"192.0.2.2"), 401, "credentials_unknown")
    refused(wrong(60.0), 401, "credentials_unknown")


def test_addresses_of_one_ipv6_subscriber_are_one() -> None:
    step = build(CONFIG, context(keys=KEYS))
    for number in range(20):
        client = f"2001:db8::{number:x}".encode()
        refused(step.check(exchange(b"\r\nX-API-Key: pk_wrong", client=client)), 401, "credentials_unknown")
    last = exchange(b"\r\nX-API-Key: pk_wrong", client=b"2001:db8::ffff")
    refused(step.check(last), 429, "too_many_failures")


def test_credentials_of_a_kind_that_the_route_does_not_take_are_the_upstream_s_business() -> None:
    step = build({"kinds": ["certificate"]}, context(keys=KEYS))
    asked = exchange(b"\r\nX-API-Key: pk_demo\r\nAuthorization: Bearer pk_demo")
    problem = refused(step.check(asked), 401, "credentials_missing")
    assert problem["detail"] == "this route needs a client certificate"
