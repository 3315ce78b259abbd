"""Who calls, from where, for whom."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import Request

from portico.identity.principal import Principal
from portico.services import callers
from portico.services.problems import Refused


def principal(*permissions: str, tenant: str = "default") -> Principal:
    return Principal("someone", "key", tenant, permissions)


def request(**fields: str) -> Request:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers})


@pytest.mark.parametrize(
    ("held", "grant", "expected"),
    [
        (("*",), "*", True),
        (("*",), "a:b:c", True),
        (("a:b",), "a:b", True),
        (("a:b",), "a:b:c", True),
        (("a:b",), "a:b:*", True),
        (("a:*",), "a:b", True),
        (("a:*",), "a:*", True),
        (("*:read",), "docs:read:7", True),
        (("*:*",), "a:b", True),
        (("*:*",), "*", False),
        (("a:b",), "a:*", False),
        (("a:b",), "*:b", False),
        (("a:b",), "*", False),
        (("a:b:c",), "a:b", False),
        (("a:b:*",), "a:b", False),
        (("a:b:*",), "a:b:c", True),
        (("a:b:c",), "a:b:*", False),
        (("a:b:c",), "a:b:c", True),
        ((), "a:b", False),
        (("a:b", "c:d"), "c:d:e", True),
    ],
)
def test_what_is_covered(held: tuple[str, ...], grant: str, expected: bool) -> None:
    assert callers.covers(principal(*held), [grant]) is expected


@pytest.mark.parametrize("held", [("a:b",), ("a:*",), ("*:b",), ("a:b:c",), ("a:b:*",), ("*:*",), ("*:*:c",), ("*",)])
@pytest.mark.parametrize("grant", ["a:b", "a:*", "*:b", "a:b:c", "a:b:*", "*:*", "a:*:c", "*"])
def test_who_covers_a_grant_may_do_all_that_it_allows(held: tuple[str, ...], grant: str) -> None:
    if callers.covers(principal(*held), [grant]):
        given = principal(grant)
        for needed in ("a:b", "a:x", "x:b", "x:y", "a:b:c", "a:b:x", "a:x:c", "x:b:c", "x:y:z"):
            assert not given.allows(needed) or principal(*held).allows(needed), needed


def test_all_grants_have_to_be_covered() -> None:
    assert callers.covers(principal("a:b"), [])
    assert not callers.covers(principal("a:b"), ["a:b", "c:d"])


def test_a_tenant_is_left_only_from_home_and_with_leave() -> None:
    assert callers.scope(principal("*", tenant="a"), None) == "a"
    assert callers.scope(principal("*", tenant="a"), "a") == "a"
    assert callers.scope(principal("*"), "b") == "b"
    assert callers.sight(principal("*")) is None
    assert callers.sight(principal("*", tenant="a")) == "a"
    assert callers.sight(principal("keys:*")) == "default"
    for stranger in (principal("*", tenant="a"), principal("keys:*")):
        with pytest.raises(Refused):
            callers.scope(stranger, "b")


@pytest.mark.parametrize(
    ("seen", "proxies", "expected"),
    [
        ("192.0.2.7", (), "192.0.2.7"),
        ("", (), ""),
        ("198.51.100.9, 192.0.2.7", (), "192.0.2.7"),
        ("198.51.100.9, 10.0.0.1", ("10.0.0.0/8",), "198.51.100.9"),
        ("203.0.113.1, 198.51.100.9, 10.0.0.2, 10.0.0.1", ("10.0.0.0/8",), "198.51.100.9"),
        ("10.0.0.2, 10.0.0.1", ("10.0.0.0/8",), "10.0.0.2"),
        ("not an address, 10.0.0.1", ("10.0.0.0/8",), "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", (), "192.0.2.7"),
        ("198.51.100.9, ::1", ("::1",), "198.51.100.9"),
        ("198.51.100.9, 10.0.0.1", ("::1",), "10.0.0.1"),
        ("198.51.100.9:4711, 10.0.0.1", ("10.0.0.0/8",), "198.51.100.9"),
        ("[2001:db8:1:2::9]:4711, 10.0.0.1", ("10.0.0.0/8",), "2001:db8:1:2::/64"),
        ("198.51.100.9, ", ("127.0.0.1",), "198.51.100.9"),  # the proxy came by a Unix socket
        ("198.51.100.9, ", ("10.0.0.0/8",), "127.0.0.1"),
    ],
)
def test_the_client_s_address(seen: str, proxies: tuple[str, ...], expected: str) -> None:
    assert callers.address(request(x_forwarded_for=seen), proxies) == expected


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "expected"),
    [
        ("http://gw.example", "gw.example", "http", True),
        ("http://GW.example:80", "gw.example", "http", True),
        ("https://gw.example", "gw.example:443", "https", True),
        ("http://gw.example:8771", "gw.example:8771", "http", True),
        ("http://gw.example", "gw.example:8771", "http", False),
        ("http://gw.example", "gw.example", "https", False),
        ("https://gw.example.evil", "gw.example", "https", False),
        ("https://evil@gw.example", "gw.example", "https", False),
        ("null", "gw.example", "http", False),
        ("", "gw.example", "http", False),
        ("http://", "", "http", False),
        ("http://[::1", "[::1", "http", False),
        ("http://a]b", "a]b", "http", False),
    ],
)
def test_a_page_of_this_host(origin: str, host: str, scheme: str, expected: bool) -> None:
    fields = {"host": host, "x_forwarded_proto": scheme}
    assert callers.same_origin(request(origin=origin, **fields)) is expected


def permitted(state: Principal | None) -> Principal:
    asked = request()
    asked.scope["state"] = {"principal": state}
    return asyncio.run(callers.needs("a:b")(asked))


def test_without_a_caller_nothing_is_permitted() -> None:
    asked = request()
    asked.scope["state"] = {"principal": None}
    for ask in (lambda: callers.caller(asked), lambda: permitted(None)):
        with pytest.raises(Refused) as raised:
            ask()
        assert raised.value.status_code == 401
    with pytest.raises(Refused) as raised:
        permitted(principal("a:c"))
    assert raised.value.status_code == 403
    assert permitted(principal("a:*")).id == "someone"
