from __future__ import annotations

from typing import Any

import pytest
from tests.unit.edge.policies.kit import context, exchange, lines, principal, refused

from portico.contracts import Server, Snapshot
from portico.edge.admit import admit, settle
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies import window
from portico.edge.policies.key_limits import NOTE, build, specs_of

COSTLY = {"cost": {"from": "header:x-portico-cost", "estimate": 1, "most": 100}}
NONE: dict[str, Any] = {"per_minute": 0, "per_day": 0, "window": "", "rate": "", "burst": 0, "quota": ""}


def asked(now: float = 0.0, who: str = "ada", **limits: Any) -> Exchange:
    made = exchange(now=now, principal=principal(who))
    made.notes[NOTE] = specs_of({**NONE, **limits})
    return made


def admitted(step: Step, number: int, now: float = 0.0, **limits: Any) -> int:
    """How many of so many requests pass."""
    return sum(step.check(asked(now, **limits)) is None for _ in range(number))


def test_keys_of_the_file_and_other_callers_have_none() -> None:
    step = build({}, context())
    plain = exchange(principal=principal())
    assert step.check(plain) is None
    assert plain.response_fields == b""
    assert specs_of(NONE) == ()


@pytest.mark.parametrize(
    ("limits", "most", "code"),
    [
        ({"per_minute": 5}, 5, "window_exceeded"),
        ({"window": "7/hour"}, 7, "window_exceeded"),
        ({"per_day": 6}, 6, "quota_exceeded"),
        ({"quota": "4/day"}, 4, "quota_exceeded"),
        ({"rate": "60/minute", "burst": 3}, 3, "rate_limited"),
        ({"rate": "100/minute"}, 10, "rate_limited"),
        ({"per_minute": 5, "per_day": 3}, 3, "quota_exceeded"),
    ],
)
def test_each_kind(limits: dict[str, Any], most: int, code: str) -> None:
    step = build({}, context())
    assert admitted(step, 20, **limits) == most
    answer = step.check(asked(**limits))
    refused(answer, 429, code)
    assert isinstance(answer, Response)
    assert int(lines(answer.fields)["retry-after"]) > 0
    assert step.check(asked(who="bob", **limits)) is None


def test_what_a_later_limit_refuses_costs_nothing() -> None:
    step = build({}, context())
    limits = {"window": "5/minute", "quota": "3/day"}
    assert admitted(step, 10, **limits) == 3
    assert admitted(step, 10, window="5/minute") == 2


def test_a_route_s_limit_that_refuses_gives_the_key_s_share_back() -> None:
    shared: dict[Any, Any] = {}
    made = context(shared, limits=2)
    keys = build({}, made)
    config = {"count": 1, "seconds": 60, "by": "client", "name": "1/minute"}
    route = window.build(config, made)
    for number in range(10):
        each = asked(per_minute=3)
        assert keys.check(each) is None
        assert (route.check(each) is None) == (number == 0)
    assert admitted(keys, 10, per_minute=3) == 2


def test_a_key_s_count_is_one_on_all_routes_and_outlives_reloads() -> None:
    shared: dict[Any, Any] = {}
    first, second = build({}, context(shared, route="a")), build({}, context(shared, route="b", version=2))
    assert admitted(first, 3, per_minute=5) == 3
    assert admitted(second, 5, per_minute=5) == 2


def test_workers_without_a_shared_store_never_admit_more_together() -> None:
    made = context()
    snapshot = Snapshot(1, "t", Server((), workers=4), routes=made.snapshot.routes)
    workers = [build({}, PolicyContext(snapshot, made.route, {})) for _ in range(4)]
    assert sum(admitted(step, 50, per_minute=42) for step in workers) == 40
    assert sum(admitted(step, 50, rate="60/minute", burst=8) for step in workers) == 8


def test_a_look_spends_nothing() -> None:
    step = build({}, context())
    assert step.peek is not None
    for _ in range(9):
        assert step.peek(asked(per_minute=1)) is None
    assert step.check(asked(per_minute=1)) is None
    refused(step.peek(asked(per_minute=1)), 429, "window_exceeded")


@pytest.mark.parametrize("limits", [{"per_minute": 10}, {"per_day": 10}, {"rate": "60/minute", "burst": 10}])
def test_a_request_that_was_several_counts_as_several_on_every_route(limits: dict[str, Any]) -> None:
    shared: dict[Any, Any] = {}
    costly, plain = build(COSTLY, context(shared, route="a")), build({}, context(shared, route="b"))

    def several(cost: int | None) -> None:
        each = asked(**limits)
        assert admit(each, [costly]) is None, "it is admitted as one"
        each.upstream, each.ended = b"u", 0.0
        assert each.tap is not None
        if cost is not None:
            each.tap.asked[b"x-portico-cost"] = cost
        assert settle(each, [costly]) is None

    for cost in (1, 4, None):
        several(cost)
    assert admitted(plain, 2, **limits) == 2, "8 of 10 are used"
    several(90)
    assert admitted(plain, 3, **limits) == admitted(costly, 3, **limits) == 0
    span = 62.0 if "per_day" not in limits else 86_400.0
    later = asked(span, **limits)
    later.wall += span
    assert (plain.check(later) is None) == ("rate" not in limits), "a rate pays its debt by refilling"


def test_of_one_request_at_most_what_the_mount_says_counts() -> None:
    shared: dict[Any, Any] = {}
    costly, plain = build(COSTLY, context(shared, route="a")), build({}, context(shared, route="b"))
    each = asked(per_day=1000)
    assert admit(each, [costly]) is None
    each.upstream = b"u"
    assert each.tap is not None
    each.tap.asked[b"x-portico-cost"] = 10**9
    settle(each, [costly])
    assert admitted(plain, 1000, per_day=1000) == 900


@pytest.mark.parametrize(
    "limits", [{"window": "5"}, {"rate": "x/minute"}, {"quota": "5/year"}, {"window": "-1/minute"}]
)
def test_what_can_t_be_read_is_an_error(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        specs_of({**NONE, **limits})
