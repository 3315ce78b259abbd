"""What limits have in common: whom they count, giving back, and living through reloads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import context, exchange, lines, principal, refused

from portico.contracts import Key
from portico.edge.admit import admit, settle
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies import concurrent, quota, rate, window
from portico.edge.policies.limits import Callers
from portico.edge.policies.store import KEPT_VERSIONS

ONE = Key("one", "00" * 32)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("key", "ada"),
        ("principal", "ada"),
        ("tenant", "acme"),
        ("client", b"192.0.2.1"),
        ("route", ""),
        ("header:X-Team", b"red"),
        ("header: x-team", b"red"),
        ("header:X-None", ""),
    ],
)
def test_callers(by: str, expected: object) -> None:
    assert Callers(by).key(exchange(b"\r\nX-Team: red", principal=principal())) == expected


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (b"2001:db8:1:2::1", b"2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        (b"2001:db8:1:2::1", b"2001:DB8:0001:2::1", True),
        (b"2001:db8:1:2::1", b"2001:db8:1:3::1", False),
        (b"::ffff:192.0.2.1", b"::ffff:192.0.2.2", False),
        (b"::ffff:192.0.2.1", b"192.0.2.1", True),
        (b"192.0.2.1", b"192.0.2.2", False),
        (b"not:an:address", b"not:an:address", True),
        (b"not:an:address", b"nor:this", False),
    ],
)
def test_a_client_is_an_ipv4_address_or_a_64(one: bytes, other: bytes, together: bool) -> None:
    callers = Callers("client")
    assert (callers.key(exchange(client=one)) == callers.key(exchange(client=other))) == together


@pytest.mark.parametrize("by", ["key", "principal", "tenant"])
def test_those_without_a_principal_share_a_bucket(by: str) -> None:
    assert Callers(by).key(exchange()) == ""


def test_a_long_header_does_not_fill_the_memory() -> None:
    callers = Callers("header:x-team")
    first = callers.key(exchange(b"\r\nX-Team: " + b"a" * 5000))
    other = callers.key(exchange(b"\r\nX-Team: " + b"a" * 5001))
    assert isinstance(first, bytes)
    assert len(first) == 32
    assert first != other


def chain(shared: dict[Any, Any], *specs: tuple[Any, dict[str, Any]], version: int = 1) -> list[Step]:
    made = context(shared, limits=len(specs), version=version)
    return [module.build({"by": "route", **config}, made) for module, config in specs]


RATE = (rate, {"tokens": 1, "seconds": 60, "burst": 3, "name": "rate"})
WINDOW = (window, {"count": 3, "seconds": 60, "name": "window"})
QUOTA = (quota, {"count": 3, "name": "quota"})
SLOTS = (concurrent, {"slots": 3, "name": "slots"})
CLOSED = (quota, {"count": 0, "name": "closed"})


def ask(steps: list[Step], now: float = 0.0) -> tuple[Exchange, Any]:
    asked = exchange(now=now)
    return asked, admit(asked, steps)


@pytest.mark.parametrize("first", [RATE, WINDOW, QUOTA, SLOTS])
def test_what_a_refused_request_had_reserved_is_given_back(first: tuple[Any, dict[str, Any]]) -> None:
    shared: dict[Any, Any] = {}
    closed = chain(shared, first, CLOSED)
    for second in range(10):
        asked, answer = ask(closed, second / 10)
        problem = refused(answer, 429, "quota_exceeded")
        assert "closed" in problem["detail"]
        assert asked.notes["limit"] == "closed"
        settle(asked, closed)
    alone = chain(shared, first)
    assert [ask(alone, 1.0)[1] is None for _ in range(4)] == [True, True, True, False]


def test_all_earlier_ones_get_theirs_back_and_the_refusing_one_took_nothing() -> None:
    shared: dict[Any, Any] = {}
    steps = chain(shared, RATE, WINDOW, QUOTA, SLOTS, (window, {"count": 2, "seconds": 60, "name": "narrow"}))
    answers = []
    for _ in range(5):
        asked, answer = ask(steps)
        answers.append(answer)
        settle(asked, steps)
    assert [answer is None for answer in answers] == [True, True, False, False, False]
    for spec in (RATE, WINDOW, QUOTA):
        alone = chain(shared, spec)
        assert [ask(alone)[1] is None for _ in range(2)] == [True, False]


def test_the_same_limit_twice_takes_and_gives_back_twice() -> None:
    shared: dict[Any, Any] = {}
    closed = chain(shared, RATE, RATE, CLOSED)
    assert ask(closed)[1] is not None
    alone = chain(shared, RATE)
    assert [ask(alone)[1] is None for _ in range(4)] == [True, True, True, False]


def test_a_refusal_by_something_else_gives_nothing_back() -> None:
    shared: dict[Any, Any] = {}
    steps = [*chain(shared, WINDOW), Step("validate", 60, broken)]
    for _ in range(3):
        asked, answer = ask(steps)
        assert answer.code == "invalid"
        settle(asked, steps)
    assert ask(steps)[1].code == "window_exceeded"


def broken(asked: Exchange) -> Response:
    return asked.problem(422, "invalid", "no", "no")


def test_each_limit_tells_of_itself() -> None:
    asked, answer = ask(chain({}, RATE, WINDOW))
    assert answer is None
    assert asked.response_fields.count(b"\r\nRateLimit: ") == 2
    assert asked.response_fields.count(b"\r\nRateLimit-Policy: ") == 2
    assert b'"rate";r=2;t=60' in asked.response_fields
    assert b'"window";r=2;t=61' in asked.response_fields


def test_names_are_quoted_as_structured_fields_want_it() -> None:
    asked, _ = ask(chain({}, (quota, {"count": 1, "name": 'a"b\\c\r\nd'})))
    assert lines(asked.response_fields)["ratelimit-policy"] == '"a\\"b\\\\c??d";q=1;w=86400'


@pytest.mark.parametrize("spec", [RATE, WINDOW, QUOTA, SLOTS])
def test_a_reload_does_not_empty_the_buckets(spec: tuple[Any, dict[str, Any]]) -> None:
    shared: dict[Any, Any] = {}
    passed = 0
    for version in range(1, 10):
        passed += ask(chain(shared, spec, version=version))[1] is None
    assert passed == 3


@pytest.mark.parametrize(
    ("spec", "changed"),
    [(RATE, {"tokens": 2}), (RATE, {"seconds": 61}), (WINDOW, {"seconds": 61}), (RATE, {"name": "x"})],
)
def test_another_limit_has_buckets_of_its_own(spec: tuple[Any, dict[str, Any]], changed: dict[str, Any]) -> None:
    shared: dict[Any, Any] = {}
    assert [ask(chain(shared, spec))[1] is None for _ in range(4)] == [True, True, True, False]
    assert ask(chain(shared, (spec[0], {**spec[1], **changed})))[1] is None


def test_the_memory_does_not_grow_with_every_reload() -> None:
    shared: dict[Any, Any] = {}
    for version in range(1, 200):
        passing = (quota, {"count": 1, "name": f"{version}/day"})
        slots = (concurrent, {"slots": version, "name": f"slots-{version}"})
        chain(shared, passing, slots, RATE, version=version)
    stores = shared["limits"]
    assert len(shared) == 1
    assert len(stores.used) == len(stores.buckets) + len(stores.slots) <= 3 * (KEPT_VERSIONS + 1)


specs = st.sampled_from([RATE, WINDOW, QUOTA, SLOTS, (window, {"count": 2, "seconds": 1, "name": "second"})])


@settings(max_examples=100, deadline=None)
@given(st.lists(specs, min_size=1, max_size=4), st.lists(st.integers(0, 90), max_size=40))
def test_refused_requests_leave_no_trace(chosen: list[tuple[Any, dict[str, Any]]], times: list[int]) -> None:
    """A chain that sees only what another admitted decides the same: what was refused has changed nothing."""
    steps, only = chain({}, *chosen), chain({}, *chosen)
    for now in sorted(times):
        asked, answer = ask(steps, float(now))
        if answer is None:
            twin, same = ask(only, float(now))
            assert same is None
            assert twin.response_fields == asked.response_fields
            settle(twin, only)
        settle(asked, steps)
