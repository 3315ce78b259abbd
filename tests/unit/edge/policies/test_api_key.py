from __future__ import annotations

import pytest
from tests.unit.edge.policies.kit import context, exchange, lines, refused

from portico.contracts import Key
from portico.edge.http1.names import AUTHORIZATION, X_API_KEY
from portico.edge.policies.api_key import build, keys_of
from portico.identity.keys import hash_key

KEYS = (Key("demo", hash_key("pk_demo"), ("users:read",), "acme"), Key("other", hash_key("pk_other")))


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
def test_a_known_key_makes_the_principal(block: bytes, credential: int) -> None:
    asked = exchange(block)
    assert build({"header": "x-api-key"}, context(keys=KEYS)).check(asked) is None
    assert asked.principal is not None
    assert (asked.principal.id, asked.principal.kind, asked.principal.tenant) == ("demo", "key", "acme")
    assert asked.principal.allows("users:read")
    assert asked.credential == credential


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
    ],
)
def test_anything_else_is_401(block: bytes, code: str) -> None:
    asked = exchange(block)
    answer = build({"header": "x-api-key"}, context(keys=KEYS)).check(asked)
    problem = refused(answer, 401, code)
    assert lines(answer.fields)["www-authenticate"] == 'Bearer realm="portico"'  # type: ignore[union-attr]
    assert "pk_" not in str(problem)
    assert asked.principal is None
    assert asked.credential == 0


def test_the_keys_are_made_once_a_snapshot_and_change_with_it() -> None:
    shared: dict[object, object] = {}
    first = context(shared, version=1, keys=KEYS)
    assert keys_of(first) is keys_of(first)
    second = build({"header": "x-api-key"}, context(shared, version=2, keys=KEYS[1:]))
    refused(second.check(exchange(b"\r\nX-API-Key: pk_demo")), 401, "credentials_unknown")
    assert second.check(exchange(b"\r\nX-API-Key: pk_other")) is None
    assert len(shared) == 1


def test_another_header_is_an_error_and_not_silently_ignored() -> None:
    with pytest.raises(ValueError, match="x-api-key"):
        build({"header": "x-token"}, context())
