"""Exchanges and contexts for the tests of single policies, with a clock that the test sets."""

from __future__ import annotations

import json
from typing import Any

from portico.contracts import LIMIT, Key, Policy, Route, Server, Snapshot
from portico.edge.context import PolicyContext
from portico.edge.exchange import Downstream, Exchange, Response
from portico.edge.http1.fields import FieldReader
from portico.edge.http1.names import Names
from portico.identity.principal import Principal

WALL = 1_700_000_000.0


def exchange(
    block: bytes = b"",
    *,
    method: bytes = b"GET",
    now: float = 0.0,
    wall: float = WALL,
    client: bytes = b"192.0.2.1",
    principal: Principal | None = None,
    length: int = 0,
) -> Exchange:
    """A request whose field lines are `block`, each `CRLF Name: value`."""
    fields = FieldReader(Names(), True)
    fields.take(block)
    made = Exchange(Downstream(), fields, now, wall)
    made.method = method
    made.client = client
    made.principal = principal
    made.length = length
    made.request_id = b"test"
    return made


def principal(id: str = "ada", tenant: str = "acme", permissions: tuple[str, ...] = ()) -> Principal:  # noqa: A002
    return Principal(id, "key", tenant, permissions)


def context(
    shared: dict[Any, Any] | None = None,
    *,
    version: int = 1,
    keys: tuple[Key, ...] = (),
    methods: tuple[str, ...] = (),
    limits: int = 1,
    route: str = "users",
) -> PolicyContext:
    """What a factory is given; `limits` is how many limits the route has."""
    policies = tuple(Policy(f"limit{number}", LIMIT, number, "") for number in range(limits))
    made = Route(route, ("/users",), "users", methods=methods, policies=policies)
    snapshot = Snapshot(version, "test", Server(()), keys=keys, routes=(made,))
    return PolicyContext(snapshot, made, {} if shared is None else shared)


def lines(fields: bytes) -> dict[str, str]:
    """Raw field lines by lower-case name, the last of each."""
    pairs = [line.split(": ", 1) for line in fields.decode("latin-1").split("\r\n")[1:]]
    return {name.lower(): value for name, value in pairs}


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem that `answer` is, after checking what every refusal has."""
    assert isinstance(answer, Response)
    problem: dict[str, Any] = json.loads(answer.body)
    assert answer.status == problem["status"] == status
    assert answer.code == problem["code"] == code
    assert problem["hint"]
    assert problem["request_id"] == "test"
    assert lines(answer.fields)["content-type"] == "application/problem+json"
    return problem
