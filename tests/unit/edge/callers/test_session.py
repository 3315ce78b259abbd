"""The session cookie counts on our own paths, and changes nothing that another site asks for."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from tests.unit.edge.callers.conftest import Desk
from tests.unit.edge.callers.test_tokens import begun, own
from tests.unit.edge.policies.kit import exchange

from portico.edge.callers.session import own_origin, session_of
from portico.edge.exchange import Exchange
from portico.edge.policies import auth

Beside = Callable[..., None]
TRUSTED = ip_network("192.0.2.0/24")


def cookie(more: bytes = b"", **claims: Any) -> bytes:
    token = own(**claims)["block"].rpartition(b" ")[2]
    return b"\r\nCookie: theme=dark; portico_session=" + token + b"; x=y" + more


async def code(desk: Desk, block: bytes, method: bytes = b"GET", websocket: bool = False) -> str:
    owner = desk.step.check.__self__  # type: ignore[attr-defined]
    assert isinstance(owner, auth.Auth)
    owner.cookie = True
    return await desk.code(block=block, method=method, websocket=websocket, authority=b"gate.example:8771")


@pytest.mark.parametrize(
    ("method", "more", "expected"),
    [
        (b"GET", b"", ""),
        (b"HEAD", b"", ""),
        (b"POST", b"", "origin_refused"),
        (b"DELETE", b"\r\nOrigin: null", "origin_refused"),
        (b"PUT", b"\r\nOrigin: http://evil.example", "origin_refused"),
        (b"PUT", b"\r\nOrigin: https://gate.example:8771", "origin_refused"),
        (b"PUT", b"\r\nOrigin: http://gate.example", "origin_refused"),
        (b"PUT", b"\r\nOrigin: http://gate.example:8771.evil.example", "origin_refused"),
        (b"POST", b"\r\nReferer: http://gate.example:8771/", "origin_refused"),
        (b"POST", b"\r\nOrigin: http://gate.example:8771", ""),
        (b"POST", b"\r\nOrigin: HTTP://Gate.Example:8771", ""),
        (b"PURGE", b"", "origin_refused"),
    ],
)
def test_what_changes_something_must_come_from_our_own_origin(
    beside: Beside, method: bytes, more: bytes, expected: str
) -> None:
    async def test(desk: Desk) -> None:
        assert await code(desk, cookie(more), method) == expected

    beside(begun(test), ("api_key", "jwt"), begin=False)


def test_a_websocket_is_no_harmless_get(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        assert await code(desk, cookie(), websocket=True) == "origin_refused"
        assert await code(desk, cookie(b"\r\nOrigin: http://gate.example:8771"), websocket=True) == ""

    beside(begun(test), ("api_key", "jwt"), begin=False)


def test_a_cookie_that_is_wrong_is_refused_and_one_that_is_not_ours_is_none(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        assert await code(desk, cookie(exp=1)) == "token_expired"
        assert await code(desk, b"\r\nCookie: portico_session=x") == "token_malformed"
        assert await code(desk, cookie() + cookie()[2:].replace(b"Cookie: ", b"; ")) == "token_malformed"
        assert await code(desk, b"\r\nCookie: session=x") == "credentials_missing"
        bearer_wins = cookie(exp=1) + own()["block"]
        assert await code(desk, bearer_wins, b"POST") == ""

    beside(begun(test), ("api_key", "jwt"), begin=False)


def test_the_cookie_is_nothing_on_routes_of_the_file(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        assert await desk.code(block=cookie()) == "credentials_missing"

    beside(begun(test), ("api_key", "jwt"), begin=False)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"portico_session=a.b.c", b"a.b.c"),
        (b'portico_session="a.b.c"', b"a.b.c"),
        (b"a=b;portico_session=t;c=d", b"t"),
        (b"xportico_session=t; portico_session2=t", b""),
        (b"portico_session=", b""),
        (b"portico_session=a; portico_session=b", b"twice"),
        (b"portico_session=a, portico_session=b", b"twice"),
        (b"portico_session", b""),
        (b"=;;;", b""),
    ],
)
def test_reading_the_cookie(value: bytes, found: bytes) -> None:
    assert session_of(exchange(b"\r\nCookie: " + value)) == found


def behind(peer: bytes, fields: bytes, scheme: bytes = b"http") -> Exchange:
    made = exchange(fields)
    made.peer, made.scheme, made.authority = peer, scheme, b"inner:80"
    return made


def test_behind_a_trusted_proxy_the_origin_is_what_the_proxy_saw() -> None:
    told = b"\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: gate.example"
    origin = b"\r\nOrigin: https://gate.example"
    assert own_origin(behind(b"192.0.2.1", told + origin), [TRUSTED])
    assert own_origin(behind(b"192.0.2.1", told + origin + b":443"), [TRUSTED])
    assert not own_origin(behind(b"198.51.100.1", told + origin), [TRUSTED])
    assert not own_origin(behind(b"192.0.2.1", told + origin), [])
    assert own_origin(behind(b"198.51.100.1", b"\r\nOrigin: http://inner"), [TRUSTED])
    assert not own_origin(behind(b"198.51.100.1", b""), [TRUSTED])
