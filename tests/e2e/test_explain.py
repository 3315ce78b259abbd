"""`portico explain` says what the socket then answers, and nothing is spent by asking."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e import explained
from tests.e2e.edge.conftest import MODES

from portico.cli import exits
from portico.errors import ControlError
from portico.runtime import control
from portico.testing import FakeUpstream, GatewayHarness, free_port, wait_for
from portico.testing.client import Reader
from portico.testing.upstream import Connection, Request, echo

REQUESTS = 40  # for each configuration
LINES = re.compile(r";t=\d+|Retry-After: \d+|try again in \d+ s")  # what a second changes


class Holding:
    """An upstream's handler that answers requests with X-Hold only when `release` is called."""

    def __init__(self) -> None:
        self.events: list[threading.Event] = []

    def __call__(self, request: Request, connection: Connection) -> bytes:
        if request.header("X-Hold"):
            event = threading.Event()
            self.events.append(event)
            assert event.wait(30)
        return echo(request, connection)

    def release(self) -> None:
        while self.events:
            self.events.pop().set()


@pytest.fixture(scope="module")
def holding() -> Holding:
    return Holding()


@pytest.fixture(scope="module")
def upstream(holding: Holding) -> Iterator[FakeUpstream]:
    with FakeUpstream(holding) as made:
        yield made


@pytest.fixture(scope="module")
def upstreams(upstream: FakeUpstream, holding: Holding) -> Iterator[list[FakeUpstream]]:
    with FakeUpstream(holding) as second:
        yield [upstream, second]


@pytest.fixture(scope="module", params=MODES)
def gateway(request: pytest.FixtureRequest, upstreams: list[FakeUpstream]) -> Iterator[GatewayHarness]:
    with GatewayHarness(
        explained.configuration(random.Random(0), 0, targets(upstreams)), compiled=request.param == "compiled"
    ) as made:
        yield made


def targets(upstreams: list[FakeUpstream]) -> dict[str, list[Any]]:
    """One upstream with one target, one where two take turns."""
    first, second = upstreams
    return {"up": [first.url], "other": [first.url, {"url": second.url, "weight": 2}]}


def ask(gateway: GatewayHarness, head: str, body_bytes: int = 0, client: str = "127.0.0.1") -> dict[str, Any]:
    question = {"head": head, "client": client, "scheme": "http", "body_bytes": body_bytes}
    return control.ask(gateway.data_dir, "explain", question=question)


def steady(told: Any) -> Any:
    """An explanation without what differs from one moment to the next."""
    if isinstance(told, dict):
        return {key: steady(value) for key, value in told.items() if key != "cost_us"}
    if isinstance(told, list):
        return [steady(each) for each in told]
    return LINES.sub("", told) if isinstance(told, str) else told


class Comparison:
    """Explains requests and sends them, on one gateway and one configuration."""

    def __init__(
        self, gateway: GatewayHarness, upstreams: list[FakeUpstream], holding: Holding, config: dict[str, Any]
    ) -> None:
        self.gateway = gateway
        self.upstreams = upstreams
        self.before: list[int] = []
        self.holding = holding
        self.config = config
        self.held: list[tuple[socket.socket, dict[str, Any]]] = []
        self.seen: Counter[tuple[int, str]] = Counter()
        self.routes: dict[str, str] = {}  # request id → the route that was told

    def compare(self, sample: explained.Sample) -> None:
        """One request: explained twice, then sent."""
        told = ask(self.gateway, sample.head, sample.body_bytes)
        assert steady(ask(self.gateway, sample.head, sample.body_bytes)) == steady(told)
        if told["request"] is not None:
            self.routes[sample.fields["X-Request-Id"]] = told["route"]["name"] if told["route"] else "-"
        sock = self.gateway.connect()
        self.before = [len(upstream.requests) for upstream in self.upstreams]
        sock.sendall(sample.head.encode("latin-1") + b"\r\n\r\n" + sample.body)
        if sample.held and told["answer"] is None and told["certain"]:
            wait_for(lambda: bool(self.arrived()))
            self.held.append((sock, told))
            return
        self.judge(sock, told, sample.method)

    def arrived(self) -> list[tuple[str, Request]]:
        """What upstreams got since the last request was begun, and which of them."""
        return [
            (upstream.url, request)
            for upstream, before in zip(self.upstreams, self.before, strict=True)
            for request in upstream.requests[before:]
        ]

    def judge(self, sock: socket.socket, told: dict[str, Any], method: str) -> None:
        """What came is what was told."""
        with sock:
            answer = Reader(sock).answer(method)
        if not told["certain"]:
            return
        expected = told["answer"]
        if expected is None:
            assert answer.status == 200, (told, answer)
            ((url, request),) = self.arrived()
            assert told["forward"]["target"] == url
            same_head(told["forward"]["head"], request.raw_head)
            shown = told["response_fields"]
        else:
            assert self.arrived() == []
            code = answer.json()["code"] if answer.body else expected["code"]
            assert (answer.status, code) == (expected["status"], expected["code"]), told
            shown = expected["fields"]
            self.seen[answer.status, expected["code"]] += 1
        got = [steady(f"{name}: {value}") for name, value in answer.headers]
        assert [line for line in steady(shown) if line not in got] == []

    def judge_routes(self) -> None:
        """The access log has the routes that were told."""
        logged: dict[str, str] = {}

        def complete() -> bool:
            logged.update({line["request_id"]: line["route"] for line in self.gateway.access_log()})
            return self.routes.keys() <= logged.keys()

        wait_for(complete)
        assert self.routes == {key: logged[key] for key in self.routes}

    def release(self) -> None:
        """Let those in flight come to their end."""
        self.holding.release()
        while self.held:
            sock, _ = self.held.pop()
            with sock:
                assert Reader(sock).answer().status == 200


def same_head(told: list[str], raw: bytes) -> None:
    """The head that the upstream got, line by line; a masked line counts by its name."""
    got = raw.removesuffix(b"\r\n\r\n").decode("latin-1").split("\r\n")
    assert len(told) == len(got), (told, got)
    for one, other in zip(told, got, strict=True):
        name, _, value = one.partition(": ")
        if value.endswith("***"):
            assert other.startswith(name + ": ")
        else:
            assert one == other


def agree(
    gateway: GatewayHarness, upstreams: list[FakeUpstream], holding: Holding, configurations: int, seed: int
) -> Counter[tuple[int, str]]:
    draw = random.Random(seed)
    seen: Counter[tuple[int, str]] = Counter()
    for number in range(configurations):
        config = explained.configuration(draw, seed * 1000 + number, targets(upstreams))
        gateway.rewrite(config)
        gateway.reload()
        comparison = Comparison(gateway, upstreams, holding, config)
        for place in range(REQUESTS):
            comparison.compare(explained.sample(draw, config, f"s{seed}-{number}-{place}"))
            if len(comparison.held) > 5 or draw.random() < 0.05:
                comparison.release()
        comparison.release()
        comparison.judge_routes()
        seen += comparison.seen
    return seen


def test_explanations_agree_with_the_socket(
    gateway: GatewayHarness, upstreams: list[FakeUpstream], holding: Holding
) -> None:
    seen = agree(gateway, upstreams, holding, 5, 1)
    statuses = Counter[int]()
    for (status, _), count in seen.items():
        statuses[status] += count
    assert {400, 401, 403, 404, 405, 413, 429} <= set(statuses), seen


@pytest.mark.long
def test_a_thousand_explanations_agree_with_the_socket(
    gateway: GatewayHarness, upstreams: list[FakeUpstream], holding: Holding
) -> None:
    seen = agree(gateway, upstreams, holding, 25, 2)
    codes = {code for _, code in seen}
    assert {"rate_limited", "window_exceeded", "quota_exceeded", "too_many_concurrent"} <= codes
    assert {"address_denied", "permission_missing", "credentials_missing", "credentials_unknown"} <= codes
    assert {"body_too_large", "head_too_large", "route_not_found", "method_not_allowed", "bad_field"} <= codes


KEY = explained.KEYS["ada"]


@pytest.fixture(scope="module")
def shown(upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    """A gateway with what the printed text can show."""
    users = {
        "name": "users",
        "paths": ["/users/{id}"],
        "methods": ["GET"],
        "auth": ["api_key"],
        "limits": [{"window": "2/hour", "by": "key"}],
        "headers": {"request": {"set": {"X-Upstream-Token": "s3cret"}}},
    }
    inner = {"name": "inner", "hosts": ["inner.example"], "paths": ["/users/*"]}
    config = {
        "server": {"limits": {"in_flight": 1}},
        "upstreams": {"up": {"targets": [upstream.url]}},
        "keys": [{"id": "ada", "sha256": explained.hashed("ada")}],
        "routes": [{"upstream": "up", **route} for route in (users, inner, {"name": "rest", "paths": ["/*"]})],
    }
    with GatewayHarness(config) as made:
        yield made


def command(gateway: GatewayHarness, *args: str) -> str:
    done = gateway.cli("explain", *args)
    assert done.returncode == exits.OK, done.stderr
    assert KEY not in done.stdout
    assert "s3cret" not in done.stdout
    return done.stdout


def test_the_text_shows_the_way_of_a_request(shown: GatewayHarness, upstream: FakeUpstream) -> None:
    before = len(upstream.requests)
    text = command(shown, "GET", f"{shown.url}/users/7?token=abc#top", "-H", f"X-API-Key: {KEY}")
    assert text.startswith(
        "GET /users/7?token=***  host 127.0.0.1, client 127.0.0.1\nas a gateway that has just started"
    )
    assert "\nroute    users  (any host, /users/{id}, id=7)\n" in text
    assert "\n  not    inner  inner.example/users/*: its host is inner.example\n" in text
    assert re.search(r"^authenticate +auth +[\d.]+ µs +passes: the caller is key ada of tenant default$", text, re.M)
    assert re.search(r'^limit +window +[\d.]+ µs +passes: .*RateLimit: "2/hour";r=1;t=\d+$', text, re.M)
    assert (
        f"\nforward  up → {upstream.url}\n  GET /users/7?token=*** HTTP/1.1\n  Host: 127.0.0.1:{shown.port}\n" in text
    )
    assert "\n  X-Upstream-Token: ***\n" in text
    assert re.search(r"^cost     read [\d.]+, route [\d.]+, steps [\d.]+, head [\d.]+; [\d.]+ µs in all$", text, re.M)
    assert len(upstream.requests) == before


def test_the_text_shows_a_refusal_and_what_is_not_reached(shown: GatewayHarness) -> None:
    text = command(shown, "GET", "/users/7", "--live")
    assert "as the running gateway takes it now" in text
    assert re.search(
        r"^authenticate +auth +[\d.]+ µs +401 credentials_missing: this route needs an API key$", text, re.M
    )
    assert re.search(r"^limit +window +- +not reached$", text, re.M)
    assert "\nanswer   401 credentials_missing\n  this route needs an API key\n  hint: " in text
    assert "\n  WWW-Authenticate: Bearer" in text
    other = command(shown, "POST", "/users/7", "--live")
    assert "\nroute    rest  (any host, /*)\n" in other
    assert "\n  not    users  /users/{id}: it takes GET, HEAD\n" in other


def test_only_the_running_gateway_knows_what_is_spent(shown: GatewayHarness) -> None:
    asking = ["GET", "/users/9", "-H", f"Authorization: Bearer {KEY}", "--json"]
    for _ in range(2):
        assert shown.request("GET", "/users/9", {"X-API-Key": KEY}).status == 200
    assert json.loads(command(shown, *asking, "--live"))["answer"]["code"] == "window_exceeded"
    fresh = json.loads(command(shown, *asking))
    assert (fresh["answer"], fresh["forward"]["upstream"]) == (None, "up")


def test_json_has_all_parts(shown: GatewayHarness) -> None:
    told = json.loads(command(shown, "PUT", "http://inner.example/users/1", "--body-bytes", "5", "--live", "--json"))
    assert told["live"] is True
    assert told["route"] == {"name": "inner", "params": {}}
    assert told["match"]["pattern"] == {"host": "inner.example", "path": "/users/*", "methods": []}
    assert [(step["phase"], step["policy"], step["outcome"]) for step in told["steps"]] == [
        ("identify", "request_id", "passes"),
        ("admit", "body", "passes"),
    ]
    assert told["forward"]["head"][-1] == "Content-Length: 5"
    assert all(told["cost_us"][part] > 0 for part in ("read", "route", "head", "total"))


def test_a_client_address_is_the_one_that_connects(shown: GatewayHarness) -> None:
    told = json.loads(command(shown, "GET", "/x", "--client", "2001:db8::1", "--json"))
    assert told["request"]["client"] == "2001:db8::1"
    assert "X-Forwarded-For: 2001:db8::1" in told["forward"]["head"]


@pytest.mark.parametrize(
    "args",
    [
        ["GET", "ftp://a/"],
        ["GET", "users"],
        ["GET", "http:///users"],
        ["GET", "http://ada:pw@a/"],
        ["GET", "/", "-H", "X: 1\r\nY: 2"],
        ["GET", "/", "--client", "nobody"],
        ["GET", "/", "--body-bytes", "-1"],
        ["GET"],
    ],
)
def test_a_wrong_command_line_is_told(shown: GatewayHarness, args: list[str]) -> None:
    done = shown.cli("explain", *args)
    assert done.returncode == exits.USAGE
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_head_that_the_reader_refuses(shown: GatewayHarness) -> None:
    for args in ([], ["--live"]):
        text = command(shown, "GET", "/users/%zz", *args)
        assert "\nroute    none: the head can't be read\n" in text
        assert "\nanswer   400 bad_target\n" in text


def test_what_the_edge_answers_itself_is_not_certain(shown: GatewayHarness) -> None:
    text = command(shown, "GET", "/health")
    assert re.search(r"^answer +health +- +not asked: has no peek$", text, re.M)
    assert "not certain" in text
    assert "/_portico is reached from no listener" in command(shown, "GET", "/_portico/x", "--live")


def test_overload_is_seen(shown: GatewayHarness, upstream: FakeUpstream, holding: Holding) -> None:
    head = "GET /busy HTTP/1.1\r\nHost: a"
    assert ask(shown, head)["answer"] is None
    with shown.connect() as sock:
        before = len(upstream.requests)
        sock.sendall(head.encode() + b"\r\nX-Hold: 1\r\n\r\n")
        upstream.wait_for(lambda: len(upstream.requests) > before)
        told = ask(shown, head)
        assert (told["answer"]["status"], told["answer"]["code"]) == (503, "overloaded")
        assert shown.request("GET", "/busy").status == 503
        holding.release()
        assert Reader(sock).answer().status == 200


def test_an_upstream_that_is_left_alone_is_told() -> None:
    """And a process that only explains asks nobody for its health or its name's addresses."""
    with FakeUpstream() as healthy:
        dead = {"targets": [f"http://127.0.0.1:{free_port()}"], "breaker": {"min_requests": 1, "open_for": "5m"}}
        named = {"targets": [f"http://localhost:{healthy.port}"], "health": {"path": "/health", "interval": "5m"}}
        config = {
            "upstreams": {"dead": dead, "named": named},
            "routes": [{"name": name, "paths": [f"/{name}"], "upstream": name} for name in ("dead", "named")],
        }
        with GatewayHarness(config) as made:
            head = "GET /dead HTTP/1.1\r\nHost: a"
            assert ask(made, head)["answer"] is None
            assert made.request("GET", "/dead").status == 502
            told, answer = ask(made, head)["answer"], made.request("GET", "/dead")
            assert (told["status"], told["code"]) == (answer.status, answer.json()["code"])
            assert told["code"] == "upstream_unavailable"
            assert told["fields"][-1].startswith("Retry-After: ")
            made.stop()
            healthy.requests.clear()
            alone = made.cli("explain", "GET", "/named", "-c", str(made.config_path), "--json")
            assert alone.stderr == ""
            assert json.loads(alone.stdout)["forward"]["target"] == f"http://localhost:{healthy.port}"
            assert healthy.requests == []


def test_explaining_counts_nothing(shown: GatewayHarness) -> None:
    def counted() -> list[str]:
        with_key = {"X-API-Key": KEY}
        text = shown.request("GET", "/metrics", with_key).body.decode()
        return [line for line in text.splitlines() if 'route="rest"' in line or "parse_errors" in line]

    shown.request("GET", "/once")
    before = counted()
    for head in ("GET /once HTTP/1.1\r\nHost: a", "GET /once HTTP/1.1"):
        for _ in range(20):
            ask(shown, head)
    assert counted() == before


def test_a_malformed_question_is_refused(shown: GatewayHarness) -> None:
    with pytest.raises(ControlError, match="the question can't be read"):
        control.ask(shown.data_dir, "explain", question={"head": 1})
    with pytest.raises(ControlError, match="needs a question"):
        control.ask(shown.data_dir, "explain")
