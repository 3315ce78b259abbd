"""Which steps routes share."""

from __future__ import annotations

import asyncio
from typing import Any

from portico import contracts
from portico.edge.accesslog import AccessLog
from portico.edge.build import Builder
from portico.edge.exchange import Step
from portico.edge.plan import CompiledRoute, Plan
from portico.edge.record import Recorder, RouteStats
from portico.edge.routes import Table
from portico.edge.state import EdgeState

POLICIES = "portico.edge.policies"


def policy(name: str, phase: int, /, **config: Any) -> contracts.Policy:
    return contracts.Policy(name, phase, 0, f"{POLICIES}.{name}:build", config)


def steps(*routes: contracts.Route) -> list[dict[str, Step]]:
    """The steps of each route by name, as one plan has them."""

    async def ask(what: str) -> dict[str, object]:
        raise ConnectionError(what)

    async def inside() -> list[dict[str, Step]]:
        recorder = Recorder(AccessLog("/dev/null"))
        nothing = CompiledRoute("", [], None, RouteStats(""))
        state = EdgeState(asyncio.get_running_loop(), Plan(0, Table([]), nothing), recorder)
        upstream = contracts.Upstream("u", (contracts.Target("http://127.0.0.1:9", host="127.0.0.1", port=9),))
        snapshot = contracts.Snapshot(1, "test", contracts.Server(()), (upstream,), routes=routes)
        plan = Builder(recorder, ask, b"").build(snapshot, state)
        found = [plan.table.find(b"a", route.paths[0].encode(), b"GET").value for route in routes]
        return [{step.name: step for step in route.steps} for route in found]

    return asyncio.run(inside())


def route(name: str, **given: Any) -> contracts.Route:
    alike = (
        policy("request_id", contracts.IDENTIFY),
        policy("body", contracts.ADMIT, limit=10),
        policy("auth", contracts.AUTHENTICATE, kinds=["api_key"]),
        policy("rate", contracts.LIMIT, name="some", by="route", tokens=2, seconds=60, burst=2),
    )
    return contracts.Route(name, (f"/{name}",), "u", **{"policies": alike, **given})


def test_routes_alike_share_what_keeps_nothing_of_a_route() -> None:
    one, other = steps(route("one"), route("other"))
    assert all(one[name] is other[name] for name in ("request_id", "body", "auth"))


def test_limits_are_each_routes_own() -> None:
    one, other = steps(route("one"), route("other"))
    assert one["rate"] is not other["rate"]


def test_another_configuration_is_another_step() -> None:
    small = policy("body", contracts.ADMIT, limit=9)
    one, other = steps(route("one"), route("other", policies=(small,)))
    assert one["body"] is not other["body"]


def test_cross_origin_rules_know_the_methods_of_their_route() -> None:
    rule = policy(
        "cors", contracts.ADMIT, origins=["https://a.example"], methods=[], headers=[], credentials=False, max_age=1
    )
    given = {"policies": (rule,)}
    one, other, third = steps(
        route("one", methods=("GET",), **given),
        route("other", methods=("GET", "PUT"), **given),
        route("third", methods=("GET",), **given),
    )
    assert one["cors"] is not other["cors"]
    assert one["cors"] is third["cors"]
