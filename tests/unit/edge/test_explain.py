"""What explaining rests on: peeks that see what checks see and spend nothing, why-nots, and masks."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies import kit

from portico.contracts import TRANSFORM, VALIDATE, Key, Policy, Route, Server, Snapshot, Target, Upstream, dump
from portico.edge.build import make
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.explain import mask, passed
from portico.edge.explain.__main__ import explain
from portico.edge.explain.explainer import read
from portico.edge.plugin import Access, ApiKeys, Headers, Limits, RequestId
from portico.edge.routes import Entry, Table, methods_of

KEYS = (Key("ada", hashlib.sha256(b"right").hexdigest(), ("users:read",)),)
LIMIT = {"by": "client", "name": "some"}
CONFIGS: dict[str, dict[str, Any]] = {
    "request_id": {},
    "access": {"allow": ["192.0.2.0/24"], "deny": ["192.0.2.7/32"]},
    "cors": {
        "origins": ["https://a.example"],
        "methods": ["PUT"],
        "headers": ["x-a"],
        "credentials": True,
        "max_age": 60,
    },
    "body": {"limit": 10},
    "auth": {"kinds": ["api_key", "jwt", "certificate"]},
    "require": {"permissions": ["users:read"]},
    "key_limits": {},
    "rate": {"tokens": 2, "seconds": 60, "burst": 3, **LIMIT},
    "window": {"count": 3, "seconds": 60, **LIMIT},
    "quota": {"count": 3, **LIMIT},
    "concurrent": {"slots": 2, **LIMIT},
    "guard": {
        "detect": "prompt_injection",
        "fields": ["$"],
        "paths": [[]],
        "on": "block",
        "threshold": 0.8,
        "on_failure": "closed",
        "response": True,
        "max_bytes": 1024,
        "timeout": 2.0,
    },
    "headers": {"request": {"set": {"X-A": "1"}}, "response": {"remove": ["Server"]}},
}
BLOCKS = [
    b"",
    b"\r\nX-API-Key: right",
    b"\r\nAuthorization: Bearer wrong",
    b"\r\nX-Request-Id: mine\r\nOrigin: https://a.example",
    b"\r\nX-Request-Id: mine\r\nOrigin: https://b.example\r\nAccess-Control-Request-Method: PUT",
]
LEFT = ("principal", "credential", "body_limit", "request_fields", "response_fields", "request_edit", "response_edit")


def specs() -> dict[str, Any]:
    """Every built-in policy."""
    plugins = (RequestId, Access, ApiKeys, Limits, Headers)
    return {spec.id: spec for plugin in plugins for spec in plugin({}).policies()}


def steps(shared: dict[Any, Any]) -> list[Step]:
    context = kit.context(shared, keys=KEYS, limits=4)
    return [make(Policy(s.id, s.phase, s.order, s.factory, CONFIGS[s.id]), context) for s in specs().values()]


def test_every_policy_of_ours_can_be_peeked_at() -> None:
    assert set(specs()) == set(CONFIGS)
    for step in steps({}):
        assert step.peek is not None, step.name


def memory(value: Any, seen: set[int] | None = None) -> Any:
    """All that an object holds, as plain values that can be compared."""
    seen = set() if seen is None else seen
    if isinstance(value, (bytes, str, int, float, frozenset, type(None))) or callable(value):
        return value
    if id(value) in seen:
        return "…"
    seen.add(id(value))
    if isinstance(value, dict):
        return [(memory(k, seen), memory(v, seen)) for k, v in value.items()]
    if isinstance(value, (list, tuple, set)):
        return [memory(each, seen) for each in value]
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__mypyc_attrs__", ())]
    names = names or list(getattr(value, "__dict__", ()))
    return {name: memory(getattr(value, name), seen) for name in names} if names else value


def plain(answer: Any) -> Any:
    return (answer.status, answer.code, answer.fields, answer.body) if isinstance(answer, Response) else answer


def owner(step: Step) -> Any:
    """The object whose method `check` is."""
    return step.check.__self__  # type: ignore[attr-defined]


asked = st.tuples(
    st.sampled_from(BLOCKS),
    st.sampled_from([b"GET", b"OPTIONS", b"POST"]),
    st.sampled_from([b"192.0.2.1", b"192.0.2.7", b"198.51.100.1"]),
    st.sampled_from([0, 10, 11]),
    st.floats(0, 40),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(asked, max_size=25))
def test_a_peek_sees_what_the_check_sees_and_leaves_no_trace(requests: list[tuple[Any, ...]]) -> None:
    shared: dict[Any, Any] = {}
    for step in steps(shared):
        now = 100.0
        for block, method, client, length, later in requests:
            now += later

            def fresh(
                block: bytes = block,
                method: bytes = method,
                client: bytes = client,
                length: int = length,
                at: float = now,
            ) -> Exchange:
                made = kit.exchange(block, method=method, client=client, length=length, now=at, wall=kit.WALL + at)
                made.request_id = b"test"
                return made

            before = memory(shared), memory(owner(step))
            looked, looked_again, checked = fresh(), fresh(), fresh()
            assert step.peek is not None
            answer = plain(step.peek(looked))
            assert plain(step.peek(looked_again)) == answer
            assert (memory(shared), memory(owner(step))) == before, step.name
            assert plain(step.check(checked)) == answer, step.name
            if answer is None:
                assert left(looked) == left(checked), step.name


def left(exchange: Exchange) -> list[Any]:
    """What later steps and heads find in the exchange; a made request id is like any other."""
    made = exchange.request_id if exchange.request_id in (b"test", b"mine") else len(exchange.request_id)
    return [made, *(memory(getattr(exchange, name)) for name in LEFT)]


def test_the_probe_itself_sees_a_peek_that_spends() -> None:
    shared: dict[Any, Any] = {}
    (window,) = [step for step in steps(shared) if step.name == "window"]
    before = copy.deepcopy(memory(shared))
    window.check(kit.exchange())
    assert memory(shared) != before


# -- why not


NAMES = ["a", "b", "{x}", "*"]
HOSTS = ["", "a.example", "*.example", "b.a.example"]


def routes(draw: random.Random) -> list[Route]:
    made = []
    for number in range(draw.randint(1, 12)):
        paths = {"/" + "/".join(draw.choice(NAMES[:3]) for _ in range(draw.randint(0, 3))) for _ in range(2)}
        paths |= {draw.choice(["/*", "/a/*", "/{x}/b/*"])} if draw.random() < 0.4 else set()
        hosts = {host for host in HOSTS if host and draw.random() < 0.2}
        methods = {method for method in ("GET", "POST", "PUT") if draw.random() < 0.2}
        cors = (Policy("cors", 20, 20, ""),) if draw.random() < 0.2 else ()
        made.append(Route(f"r{number}", tuple(paths), "", tuple(hosts), tuple(methods), policies=cors))
    return made


@given(st.randoms(use_true_random=False))
def test_the_pattern_that_is_told_is_the_one_that_the_table_finds(draw: random.Random) -> None:
    made = routes(draw)
    table = Table([Entry(r.hosts, r.paths, methods_of(r), index, r) for index, r in enumerate(made)])
    ordered = passed.patterns(made)
    for _ in range(10):
        host = draw.choice(["a.example", "b.a.example", "z.example", "other", ""])
        path = "/" + "/".join(draw.choice(["a", "b", "c", ""]) for _ in range(draw.randint(0, 4)))
        method = draw.choice(["GET", "HEAD", "PUT", "OPTIONS", "DELETE"])
        found = table.find(host.encode(), path.encode(), method.encode()).value
        told = passed.passed_over(ordered, passed.Asked(host, path, method))
        assert (told["pattern"] is None) == (found is None)
        if found is not None:
            assert told["pattern"]["path"] in found.paths
        assert all(each["why"] for each in told["passed_over"])


def told(made: list[Route], host: str, path: str, method: str) -> list[tuple[str, str]]:
    found = passed.passed_over(passed.patterns(made), passed.Asked(host, path, method))
    return [(each["route"], each["why"]) for each in found["passed_over"]]


def test_why_not_tells_host_path_and_method_of_what_came_close() -> None:
    made = [
        Route("host", ("/users/7",), "", hosts=("api.example",)),
        Route("method", ("/users/7",), "", methods=("GET", "PUT")),
        Route("path", ("/users/8",), ""),
        Route("far", ("/other",), ""),
        Route("all", ("/*",), ""),
    ]
    assert told(made, "x", "/users/7", "POST") == [
        ("host", "its host is api.example"),
        ("method", "it takes GET, HEAD, PUT"),
        ("path", "its path is /users/8"),
    ]
    found = passed.passed_over(passed.patterns(made), passed.Asked("x", "/users/7", "POST"))
    assert (found["pattern"]["path"], found["more"]) == ("/*", 1)


def test_of_very_many_only_the_closest_are_told() -> None:
    made = [Route(f"r{number}", (f"/users/{number}",), "", methods=("PUT",)) for number in range(300)]
    found = passed.passed_over(passed.patterns(made), passed.Asked("x", "/users/250", "GET"))
    assert len(found["passed_over"]) == passed.MOST
    assert found["more"] == 300 - passed.MOST
    assert ("r250", "it takes PUT") in [(each["route"], each["why"]) for each in found["passed_over"]]


# -- masks


def test_credentials_are_masked() -> None:
    head = (
        b"GET /t/s3cr%65t/x?a=1&access_token=abc&k HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer abc\r\nCookie: a=b\r\n"
        b"X-API-Key: abc\r\nX-Upstream-Token: abc\r\nX-Portico-Principal: abc\r\nAuthorization: abc\r\n"
        b"Sec-WebSocket-Key: dGhl\r\nAccept: */*\r\n\r\n"
    )
    assert mask.mask_head(head, frozenset([b"s3cret"])) == [
        "GET /t/[redacted]/x?a=1&access_token=***&k HTTP/1.1",
        "Host: a",
        "Authorization: Bearer ***",
        "Cookie: ***",
        "X-API-Key: ***",
        "X-Upstream-Token: ***",
        "X-Portico-Principal: ***",
        "Authorization: ***",
        "Sec-WebSocket-Key: dGhl",
        "Accept: */*",
    ]
    assert mask.mask_target(b"/a/pk_live_1", frozenset()) == b"/a/[redacted]"


# -- steps that can't be peeked at


def without(config: dict[str, Any], context: Any) -> Step:
    return Step("without", VALIDATE, lambda exchange: None)


def slow(config: dict[str, Any], context: Any) -> Step:
    async def check(exchange: Exchange) -> Response | None:
        return None

    return Step("slow", VALIDATE, check, check)  # type: ignore[arg-type]


def broken(config: dict[str, Any], context: Any) -> Step:
    return Step("broken", VALIDATE, lambda exchange: None, lambda exchange: 1 / 0)  # type: ignore[arg-type,return-value]


def late(config: dict[str, Any], context: Any) -> Step:
    return Step("late", TRANSFORM, lambda exchange: None, lambda exchange: None)


def explained(*policies: str) -> dict[str, Any]:
    """A request on a route with these policies, as the explaining process tells of it."""
    made = tuple(Policy(name, VALIDATE, place, f"{__name__}:{name}") for place, name in enumerate(policies))
    upstream = Upstream("up", (Target("http://127.0.0.1:9", host="127.0.0.1", port=9),))
    route = Route("r", ("/*",), "up", policies=made)
    snapshot = Snapshot(3, "test", Server(()), upstreams=(upstream,), routes=(route,))
    question = {"head": "GET / HTTP/1.1\r\nHost: a", "client": "127.0.0.1"}
    return asyncio.run(explain({"snapshot": dump(snapshot), "question": question}))


@pytest.mark.parametrize(("name", "why"), [("without", "has no peek"), ("slow", "its peek needs time")])
def test_a_step_that_was_not_asked_makes_the_rest_uncertain(name: str, why: str) -> None:
    told = explained(name, "late")
    assert [(step["policy"], step["outcome"], step["why"]) for step in told["steps"]] == [
        (name, "not asked", [why]),
        ("late", "passes", []),
    ]
    assert told["certain"] is False
    assert told["version"] == 3
    assert told["forward"]["target"] == "http://127.0.0.1:9"
    assert told["cost_us"]["head"] > 0


def test_a_peek_that_fails_is_the_answer_that_the_request_would_get() -> None:
    told = explained("broken", "late")
    assert [(step["policy"], step["outcome"]) for step in told["steps"]] == [
        ("broken", "answers"),
        ("late", "not reached"),
    ]
    assert told["steps"][0]["why"][0] == "its peek failed: ZeroDivisionError"
    assert (told["answer"]["status"], told["answer"]["code"]) == (500, "policy_failed")
    assert told["forward"] is None


# -- questions


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"head": 7, "client": "127.0.0.1"},
        {"head": "GET / HTTP/1.1", "client": "nobody"},
        {"head": "GET / HTTP/1.1", "client": "127.0.0.1", "scheme": "ftp"},
        {"head": "GET / HTTP/1.1", "client": "127.0.0.1", "body_bytes": -1},
        {"head": "GET / HTTP/1.1", "client": "127.0.0.1", "body_bytes": "1"},
        {"head": "GET /\u20ac HTTP/1.1", "client": "127.0.0.1"},
    ],
)
def test_a_malformed_question_is_an_error(question: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        read(question)


def test_only_the_first_head_is_read() -> None:
    assert read({"head": "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1"}).head == b"GET / HTTP/1.1\r\nHost: a"
