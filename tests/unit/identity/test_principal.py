from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.identity.principal import Principal, sign, verify

KEY = bytes(range(32))
NOW = 1_700_000_000.0


def of(*permissions: str) -> Principal:
    return Principal("ada", "key", "acme", permissions)


@pytest.mark.parametrize(
    ("grant", "permission", "allowed"),
    [
        ("*", "users:read", True),
        ("*", "documents:read:orders", True),
        ("users:read", "users:read", True),
        ("users:read", "users:write", False),
        ("users:read", "teams:read", False),
        ("users:*", "users:write", True),
        ("users:*", "teams:write", False),
        ("*:read", "users:read", True),
        ("*:read", "users:write", False),
        ("*:*", "users:write", True),
        ("documents:read", "documents:read:orders", True),
        ("documents:*", "documents:read:orders", True),
        ("documents:read:orders", "documents:read:orders", True),
        ("documents:read:orders", "documents:read:bills", False),
        ("documents:read:orders", "documents:read", False),
        ("documents:read:*", "documents:read:orders", True),
        ("documents:read:*", "documents:read", False),
        ("documents:*:orders", "documents:write:orders", True),
        ("documents:*:orders", "documents:write:bills", False),
        ("documents:read:a:b", "documents:read:a:b", True),
        ("documents:read:*", "documents:read:a:b", True),
        ("users", "users:read", False),
        ("users:re*", "users:read", False),
        ("users:read", "users:read:", False),
        ("users:read", "users", False),
        ("*:*", "", False),
        ("*:*", "users:", False),
        ("users:read", "Users:Read", False),
    ],
)
def test_permissions(grant: str, permission: str, allowed: bool) -> None:
    assert of(grant).allows(permission) is allowed
    assert of("unrelated:thing", grant).allows(permission) is allowed


def test_nothing_is_allowed_without_a_grant() -> None:
    assert not of().allows("users:read")
    assert not of().allows("*")


def test_a_wildcard_is_not_granted_by_something_narrower() -> None:
    assert not of("users:read", "users:write").allows("users:*")
    assert not of("users:*").allows("*")


def test_what_was_signed_is_read_back() -> None:
    read = verify(sign(of("a:b", "c:d:é"), b"request", NOW, KEY), b"request", NOW + 60, KEY)
    assert read is not None
    assert (read.id, read.kind, read.tenant, read.permissions) == ("ada", "key", "acme", ("a:b", "c:d:é"))


@pytest.mark.parametrize("age", [60.01, 3600, -5.01, -3600])
def test_it_is_valid_for_a_minute(age: float) -> None:
    header = sign(of(), b"request", NOW, KEY)
    assert verify(header, b"request", NOW + age, KEY) is None


def test_it_is_worth_nothing_with_another_request_or_key() -> None:
    header = sign(of(), b"request", NOW, KEY)
    assert verify(header, b"other", NOW, KEY) is None
    assert verify(header, b"", NOW, KEY) is None
    assert verify(header, b"request", NOW, bytes(32)) is None


def test_no_bit_of_it_can_be_changed() -> None:
    header = sign(of("a:b"), b"request", NOW, KEY)
    for index in range(len(header)):
        for bit in range(8):
            forged = bytearray(header)
            forged[index] ^= 1 << bit
            assert verify(bytes(forged), b"request", NOW, KEY) is None


def test_a_payload_cannot_be_exchanged() -> None:
    header = sign(of(), b"request", NOW, KEY)
    payload = base64.urlsafe_b64encode(json.dumps(["eve", "key", "acme", ["*"], int(NOW * 1000)]).encode()).rstrip(b"=")
    assert verify(payload + b"." + header.partition(b".")[2], b"request", NOW, KEY) is None


@pytest.mark.parametrize("header", [b"", b".", b"..", b"a.b", b"\xff.\xff", b"A" * 100_000, b"e30." + b"A" * 43])
def test_nonsense_is_refused(header: bytes) -> None:
    assert verify(header, b"request", NOW, KEY) is None


@given(header=st.binary(max_size=200), request=st.binary(max_size=20))
def test_no_bytes_raise(header: bytes, request: bytes) -> None:
    assert verify(header, request, NOW, KEY) is None


@given(st.text(), st.text(), st.lists(st.text()), st.binary(), st.integers(0, 60))
def test_any_principal_survives(name: str, tenant: str, permissions: list[str], request: bytes, age: int) -> None:
    header = sign(Principal(name, "person", tenant, tuple(permissions)), request, NOW, KEY)
    assert not header.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    read = verify(header, request, NOW + age, KEY)
    assert read is not None
    assert (read.id, read.tenant, read.permissions) == (name, tenant, tuple(permissions))


def test_roles_and_session_are_told_to_the_services() -> None:
    person = Principal("ada", "person", "acme", ("a:b",), ("user", "clerk"), "session-1")
    read = verify(sign(person, b"request", NOW, KEY), b"request", NOW, KEY)
    assert read is not None
    assert (read.roles, read.session) == (("user", "clerk"), "session-1")


@pytest.mark.parametrize(
    ("grants", "permission", "covering"),
    [
        (("*", "users:*", "users:read"), "users:read", "users:read"),
        (("*", "users:*"), "users:read", "users:*"),
        (("*",), "users:read", "*"),
        (("documents:read",), "documents:read:orders", "documents:read"),
        (("documents:*:orders",), "documents:read:orders", "documents:*:orders"),
        (("users:write",), "users:read", ""),
        ((), "users:read", ""),
    ],
)
def test_the_grant_that_covers_a_permission(grants: tuple[str, ...], permission: str, covering: str) -> None:
    assert of(*grants).covering(permission) == covering
