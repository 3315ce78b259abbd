"""What routes, keys, permissions and limits refuse, and how they say so."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Answer, Reader
from portico.testing.upstream import Connection, Request

KEY = "pk_reader_0123456789abcdef"
ADMIN = "pk_admin_0123456789abcdef"


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def guarded(mode: bool, shared_upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    """Routes with keys, limits, CORS, networks and header edits."""

    def route(name: str, **more: object) -> dict[str, object]:
        return {"name": name, "paths": [f"/{name}/*"], "upstream": "up", **more}

    config = {
        "server": {"trusted_proxies": ["127.0.0.0/8"]},
        "upstreams": {"up": {"targets": [shared_upstream.url]}},
        "keys": [
            {"id": "reader", "sha256": sha256(KEY), "permissions": ["users:read"]},
            {"id": "admin", "sha256": sha256(ADMIN), "permissions": ["*"]},
        ],
        "routes": [
            route("keyed", auth=["api_key"]),
            route("kept", auth=["api_key"], forward_credentials=True),
            route("writers", auth=["api_key"], require=["users:write"]),
            route("window", auth=["api_key"], limits=[{"window": "5/minute", "by": "key"}]),
            route("rate", limits=[{"rate": "60/minute", "burst": 3, "by": "client"}]),
            route("quota", limits=[{"quota": "4/day", "by": "client"}]),
            route("two", limits=[{"window": "100/minute", "by": "client"}, {"quota": "2/day", "by": "client"}]),
            route("concurrent", limits=[{"concurrent": 1, "by": "client"}]),
            route("inside", allow=["10.0.0.0/8"], deny=["10.6.6.0/24"]),
            route(
                "cors",
                methods=["PUT"],
                auth=["api_key"],
                cors={"origins": ["https://app.example"], "methods": ["PUT"], "max_age": "10m"},
            ),
            route(
                "edited",
                headers={
                    "request": {"set": {"X-Set": "ours"}, "add": {"X-Add": "2"}, "remove": ["X-Remove"]},
                    "response": {"set": {"Server": "portico"}, "add": {"X-Added": "1"}, "remove": ["Content-Type"]},
                },
            ),
            {"name": "exact", "hosts": ["a.example"], "paths": ["/who"], "upstream": "up"},
            {"name": "wild", "hosts": ["*.example"], "paths": ["/who"], "upstream": "up", "methods": ["GET"]},
        ],
    }
    with GatewayHarness(config, compiled=mode) as gateway:
        yield gateway


def refused(answer: Answer, status: int, code: str) -> Answer:
    """Checks the form that every refusal has."""
    assert answer.status == status, answer.body
    assert answer.header("Content-Type") == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"], body["request_id"]) == (status, code, answer.header("X-Request-Id"))
    assert body["hint"]
    assert body["detail"]
    return answer


def test_no_route_is_404(guarded: GatewayHarness) -> None:
    refused(guarded.request("GET", "/nowhere"), 404, "route_not_found")


def test_wrong_method_is_405_with_allow(guarded: GatewayHarness) -> None:
    answer = guarded.request("POST", "/who", {"Host": "b.example"})
    assert refused(answer, 405, "method_not_allowed").header("Allow") == "GET, HEAD"


@pytest.mark.parametrize("path", ["/_portico/", "/_portico", "/_portico/keys", "/%5fportico/x", "//_portico/x"])
def test_what_edge_and_services_say_to_each_other_is_out_of_reach(guarded: GatewayHarness, path: str) -> None:
    refused(guarded.request("GET", path, {"X-API-Key": ADMIN}), 404, "route_not_found")


def test_no_key_wrong_key_right_key(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    missing = refused(guarded.request("GET", "/keyed/"), 401, "credentials_missing")
    assert (missing.header("WWW-Authenticate") or "").startswith("Bearer")
    unknown = refused(guarded.request("GET", "/keyed/", {"X-API-Key": "pk_wrong"}), 401, "credentials_unknown")
    assert unknown.header("WWW-Authenticate")
    assert b"pk_wrong" not in unknown.body
    assert upstream.requests == []
    assert guarded.request("GET", "/keyed/", {"X-API-Key": KEY}).status == 200
    assert guarded.request("GET", "/keyed/", {"Authorization": f"Bearer {KEY}"}).status == 200
    for request in upstream.requests:
        assert request.header("X-API-Key") is None
        assert request.header("Authorization") is None


def test_used_credentials_are_forwarded_where_the_route_says_so(
    guarded: GatewayHarness, upstream: FakeUpstream
) -> None:
    guarded.request("GET", "/kept/", {"X-API-Key": KEY})
    assert upstream.requests[0].header("X-API-Key") == KEY


@pytest.mark.parametrize("path", ["/%6beyed/x", "//keyed/x", "/a/../keyed/x", "/keyed/%2e/x", "/./keyed/x"])
def test_no_spelling_of_the_path_slips_past_the_key(guarded: GatewayHarness, upstream: FakeUpstream, path: str) -> None:
    refused(guarded.request("GET", path), 401, "credentials_missing")
    assert upstream.requests == []


def test_403_names_the_missing_permission(guarded: GatewayHarness) -> None:
    answer = refused(guarded.request("GET", "/writers/", {"X-API-Key": KEY}), 403, "permission_missing")
    assert "users:write" in answer.json()["detail"] + answer.json()["hint"]
    assert guarded.request("GET", "/writers/", {"X-API-Key": ADMIN}).status == 200


def test_policies_apply_to_the_request_that_upgrades(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    refused(guarded.request("GET", "/keyed/", upgrade), 401, "credentials_missing")
    assert upstream.requests == []
    upstream.handler = lambda *_: (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    answer = guarded.request("GET", "/keyed/", [*upgrade, ("X-API-Key", KEY)])
    assert (answer.status, answer.header("Upgrade")) == (101, "websocket")
    assert upstream.requests[0].header("X-API-Key") is None


def test_a_window_admits_exactly_n(guarded: GatewayHarness) -> None:
    answers = [guarded.request("GET", "/window/", {"X-API-Key": KEY}) for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    last = refused(answers[-1], 429, "window_exceeded")
    assert 1 <= int(last.header("Retry-After") or 0) <= 61
    assert "q=5;w=60" in (last.header("RateLimit-Policy") or "")
    assert "r=0" in (last.header("RateLimit") or "")
    assert "r=4" in (answers[0].header("RateLimit") or "")
    assert guarded.request("GET", "/window/", {"X-API-Key": ADMIN}).status == 200, "each key has its own"


def test_gcra_admits_the_burst_and_refills(guarded: GatewayHarness) -> None:
    began = time.monotonic()
    statuses = [guarded.request("GET", "/rate/").status for _ in range(6)]
    spent = time.monotonic() - began
    assert statuses[:3] == [200] * 3
    assert statuses.count(200) <= 3 + int(spent) + 1
    refused(guarded.request("GET", "/rate/"), 429, "rate_limited")
    time.sleep(1.05)
    assert guarded.request("GET", "/rate/").status == 200


def test_a_quota_counts_the_day(guarded: GatewayHarness) -> None:
    answers = [guarded.request("GET", "/quota/") for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 4 + [429]
    assert int(refused(answers[-1], 429, "quota_exceeded").header("Retry-After") or 0) <= 86_400


def test_a_later_limit_gives_back_what_an_earlier_one_took(guarded: GatewayHarness) -> None:
    answers = [guarded.request("GET", "/two/") for _ in range(6)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429, 429, 429]
    assert any("r=98" in value for value in answers[1].all("RateLimit")), answers[1].headers


def test_concurrent_slots_are_freed_however_the_exchange_ends(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    def handler(_: Request, connection: Connection) -> None:
        connection.gone(10)

    upstream.handler = handler
    for _ in range(5):
        sock = guarded.connect()
        sock.sendall(b"GET /concurrent/ HTTP/1.1\r\nHost: a\r\n\r\n")
        upstream.wait_for(lambda: bool(upstream.requests))
        refused(guarded.request("GET", "/concurrent/"), 429, "too_many_concurrent")
        sock.close()
        upstream.wait_for(lambda: all(each.closed.is_set() for each in upstream.accepted))
        upstream.requests.clear()


def test_networks_and_the_client_behind_a_trusted_proxy(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    refused(guarded.request("GET", "/inside/"), 403, "address_denied")
    assert guarded.request("GET", "/inside/", {"X-Forwarded-For": "10.1.1.1"}).status == 200
    refused(guarded.request("GET", "/inside/", {"X-Forwarded-For": "10.6.6.1"}), 403, "address_denied")
    refused(guarded.request("GET", "/inside/", {"X-Forwarded-For": "10.1.1.1, 8.8.8.8"}), 403, "address_denied")
    assert upstream.requests[0].all("X-Forwarded-For") == ["10.1.1.1, 127.0.0.1"]


def test_a_preflight_needs_no_key_and_a_request_does(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    answer = guarded.request("OPTIONS", "/cors/x", asked)
    assert answer.status == 204
    assert answer.header("Access-Control-Allow-Origin") == "https://app.example"
    assert answer.header("Access-Control-Max-Age") == "600"
    assert guarded.request("OPTIONS", "/cors/x", {**asked, "Origin": "https://evil.example"}).status == 403
    refused(guarded.request("PUT", "/cors/x", {"Origin": "https://app.example"}), 401, "credentials_missing")
    assert upstream.requests == []
    answer = guarded.request("PUT", "/cors/x", {"Origin": "https://app.example", "X-API-Key": KEY})
    assert (answer.status, answer.header("Access-Control-Allow-Origin")) == (200, "https://app.example")
    assert "Origin" in (answer.header("Vary") or "")


def test_a_refusal_can_be_read_by_the_browsers_page(guarded: GatewayHarness) -> None:
    answer = guarded.request("PUT", "/cors/x", {"Origin": "https://app.example"})
    assert (answer.status, answer.header("Access-Control-Allow-Origin")) == (401, "https://app.example")


def test_header_edits(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    answer = guarded.request(
        "GET", "/edited/", [("X-Set", "theirs"), ("x-set", "two"), ("X-Add", "1"), ("X-REMOVE", "1")]
    )
    request = upstream.requests[0]
    assert request.all("X-Set") == ["ours"]
    assert request.all("X-Add") == ["1", "2"]
    assert request.header("X-Remove") is None
    assert (answer.header("Server"), answer.header("X-Added"), answer.header("Content-Type")) == ("portico", "1", None)


def test_hosts_take_precedence(guarded: GatewayHarness) -> None:
    def route_of(host: str) -> str:
        request_id = f"host-{time.monotonic_ns()}"
        guarded.request("GET", "/who", {"Host": host, "X-Request-Id": request_id})
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            for line in guarded.access_log():
                if line["request_id"] == request_id:
                    return str(line["route"])
            time.sleep(0.05)
        raise AssertionError("no line in the access log")

    assert route_of("a.example:80") == "exact"
    assert route_of("A.EXAMPLE") == "exact"
    assert route_of("b.example") == "wild"


def test_a_refused_request_with_a_body_leaves_the_connection_usable(guarded: GatewayHarness) -> None:
    with guarded.connect() as sock:
        reader = Reader(sock)
        for _ in range(3):
            sock.sendall(b"POST /keyed/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert reader.answer().status == 401
