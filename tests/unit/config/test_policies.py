"""What each policy's keys become: plain values, in the order of a request."""

from __future__ import annotations

from typing import Any

import pytest

from portico import contracts
from portico.config import compile_snapshot

from .conftest import BASE, Read


@pytest.fixture
def steps(read: Read) -> Any:
    """The policies of a route with these further lines, by id (lists where there are several)."""

    def run(*lines: str) -> dict[str, Any]:
        settings = read(BASE + "".join(f"    {line}\n" for line in lines))
        found: dict[str, Any] = {}
        for policy in compile_snapshot(settings, version=1).snapshot.routes[0].policies:
            found[policy.id] = policy.config
            assert policy.factory == f"portico.edge.policies.{policy.id}:build"
        return found

    return run


def test_a_bare_route_has_only_an_id_and_a_bound(steps: Any) -> None:
    assert steps() == {"request_id": {}, "body": {"limit": 16 * 2**20}}


def test_plain_forms(steps: Any) -> None:
    found = steps(
        "auth: [api_key]",
        "require: [users:read, users:read]",
        "allow: [10.0.0.0/8, '::1']",
        "deny: [10.1.2.3]",
        "body_bytes: 1KiB",
        "cors: {origins: ['https://A.example', 'https://*.b.example:8443'], max_age: 90s, methods: [PUT],",
        "       headers: [x-a]}",
        "headers: {request: {set: {X-A: a b}, remove: [X-B]}, response: {add: {X-C: ''}}}",
    )
    assert found == {
        "request_id": {},
        "access": {"allow": ["10.0.0.0/8", "::1/128"], "deny": ["10.1.2.3/32"]},
        "cors": {
            "origins": ["https://a.example", "https://*.b.example:8443"],
            "methods": ["PUT"],
            "headers": ["x-a"],
            "credentials": False,
            "max_age": 90,
        },
        "body": {"limit": 1024},
        "auth": {"kinds": ["api_key"]},
        "require": {"permissions": ["users:read"]},
        "key_limits": {},
        "headers": {
            "request": {"set": {"X-A": "a b"}, "add": {}, "remove": ["X-B"]},
            "response": {"set": {}, "add": {"X-C": ""}, "remove": []},
        },
    }
    assert list(found) == ["request_id", "access", "cors", "body", "auth", "require", "key_limits", "headers"]


@pytest.mark.parametrize(
    ("limit", "kind", "by", "config"),
    [
        ("{rate: 600/minute, burst: 60, by: route}", "rate", "route", {"tokens": 600, "seconds": 60, "burst": 60}),
        ("{rate: 50/second}", "rate", "client", {"tokens": 50, "seconds": 1, "burst": 5}),
        ("{rate: 2/day}", "rate", "client", {"tokens": 2, "seconds": 86400, "burst": 1}),
        ("{window: 100/hour, by: 'header:X-Team'}", "window", "header:x-team", {"count": 100, "seconds": 3600}),
        ("{quota: 10000/day}", "quota", "client", {"count": 10000}),
        ("{concurrent: 50}", "concurrent", "client", {"slots": 50}),
    ],
)
def test_limits(steps: Any, limit: str, kind: str, by: str, config: dict[str, Any]) -> None:
    amount = limit.split(": ")[1].split(",")[0].strip("}")
    name = f"concurrent-{amount}" if kind == "concurrent" else amount
    assert steps(f"limits: [{limit}]")[kind] == {**config, "by": by, "name": name}


@pytest.mark.parametrize(
    ("written", "cost"),
    [
        ("tokens", {"from": "tokens", "estimate": 1, "most": 1_000_000}),
        ("'header:X-Cost'", {"from": "header:x-cost", "estimate": 1, "most": 1_000_000}),
        ("{from: tokens, estimate: 7, most: 90}", {"from": "tokens", "estimate": 7, "most": 90}),
    ],
)
def test_costs_have_a_name_of_their_own(steps: Any, written: str, cost: dict[str, Any]) -> None:
    found = steps(f"limits: [{{quota: 10/day}}, {{window: 10/minute, cost: {written}}}]")
    what = "tokens" if cost["from"] == "tokens" else "x-cost"
    assert found["quota"] == {"count": 10, "by": "client", "name": "10/day"}
    assert found["window"] == {"count": 10, "seconds": 60, "by": "client", "name": f"10/minute {what}", "cost": cost}


def test_limits_are_ordered_by_kind_then_as_written(read: Read) -> None:
    limits = "[{concurrent: 5}, {window: 9/minute}, {rate: 2/second}, {window: 1/minute, by: route}, {quota: 3/day}]"
    snapshot = compile_snapshot(read(BASE + f"    limits: {limits}\n"), version=1).snapshot
    names = [policy.config["name"] for policy in snapshot.routes[0].policies if policy.phase == contracts.LIMIT]
    assert names == ["2/second", "9/minute", "1/minute", "3/day", "concurrent-5"]


def test_every_policy_has_its_twin_in_the_edge() -> None:
    from pathlib import Path

    import portico.config.policies
    import portico.edge.policies

    twins = {path.stem for path in Path(portico.config.policies.__path__[0]).glob("*.py")} - {"__init__", "by", "cost"}
    behaviours = {path.stem for path in Path(portico.edge.policies.__path__[0]).glob("*.py")}
    assert twins == {
        *("request_id", "access", "cors", "body", "auth", "require", "key_limits"),
        *("rate", "window", "quota", "concurrent", "headers", "guard"),
    }
    assert twins <= behaviours
