"""Finished requests as spans, and the queue that they wait in."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import WALL, exchange, principal

from portico.contracts import Tracing
from portico.edge.callers.wire import Wire
from portico.edge.exchange import Exchange, Step
from portico.edge.plan import CompiledRoute
from portico.edge.record import RouteStats
from portico.edge.tracing.describe import describe
from portico.edge.tracing.spans import MOST, Spans
from portico.edge.tracing.trace import Trace, Tracer
from portico.errors import ServicesAway
from portico.telemetry.tracing.record import Record

KEY = b"k" * 32


class Services(Wire):
    """Stands at the other end: keeps what is sent, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__("", b"")
        self.status = 204
        self.bodies: list[dict[str, Any]] = []

    async def ask(self, method: bytes, target: bytes, body: bytes = b"") -> tuple[int, bytes]:
        if not self.status:
            raise ServicesAway("they are away")
        self.bodies.append(json.loads(body))
        return self.status, b""


def finished(paths: tuple[str, ...] = ("/users/{id}",), target: bytes = b"/users/7?a=b") -> Exchange:
    made = exchange(now=100.0)
    path, mark, query = target.partition(b"?")
    made.target, made.match, made.query = target, path, mark + query
    made.route = CompiledRoute("users", [Step("auth", 30, lambda _: None)], None, RouteStats("users"))
    made.route.paths = paths
    made.status, made.responding = 200, True
    return made


def spans_of(made: Exchange, *, code: str = "") -> list[Record]:
    found: list[Record] = []
    tracer = Tracer(1.0, False, KEY, lambda exchange, trace, now: found.extend(describe(exchange, trace, now)))
    made.trace = tracer.begin(made)
    made.code = code
    made.trace.finish(made, 100.25)
    return found


def one(made: Exchange, code: str = "") -> Record:
    (span,) = spans_of(made, code=code)
    return span


def test_times_are_of_the_clock_on_the_wall() -> None:
    span = one(finished())
    assert (span.start, span.end) == (int(WALL) * 10**9, int(WALL) * 10**9 + 250_000_000)


def test_the_path_that_fits_is_named_where_a_route_has_several() -> None:
    several = ("/users", "/users/{id}", "/files/*")
    for target, pattern in ((b"/users", "/users"), (b"/users/7", "/users/{id}"), (b"/files/a/b", "/files/*")):
        assert one(finished(several, target)).attributes["http.route"] == pattern
    assert "http.route" not in one(finished(several, b"/other")).attributes


def test_unusual_methods_make_no_names() -> None:
    made = finished()
    made.method = b"BREW"
    span = one(made)
    assert span.name == "HTTP /users/{id}"
    assert (span.attributes["http.request.method"], span.attributes["http.request.method_original"]) == (
        "_OTHER",
        "BREW",
    )


def test_secret_segments_and_long_paths() -> None:
    made = finished(target=b"/hooks/one/hush")
    assert made.route is not None
    made.route.redact = [2]
    assert one(made).attributes["url.path"] == "/hooks/one/[redacted]"
    long = one(finished(target=b"/" + b"x" * 30_000))
    assert len(json.dumps(long)) < 4096


def test_what_counts_as_a_failure() -> None:
    made = finished()
    made.status = 404
    assert not one(made).failed
    made = finished()
    made.status = 500
    span = one(made)
    assert (span.failed, span.attributes["error.type"]) == (True, "500")
    broken = one(finished(), "upstream_truncated")
    assert (broken.failed, broken.attributes["error.type"]) == (True, "upstream_truncated")
    gone = finished()
    gone.responding, gone.status = False, 499
    span = one(gone, "client_gone")
    assert not span.failed
    assert "http.response.status_code" not in span.attributes


def test_who_called() -> None:
    made = finished()
    made.principal = principal("k1", "acme")
    found = one(made).attributes
    assert (found["portico.key"], found["portico.tenant"]) == ("k1", "acme")


@given(st.binary(max_size=40), st.binary(max_size=10), st.text(max_size=20))
def test_whatever_a_request_is_made_of_can_be_told(raw: bytes, method: bytes, name: str) -> None:
    made = finished(("/a", "/*"), b"/" + raw)
    made.method, made.host, made.client = method, raw, raw
    made.principal = principal(name + "\ud800", name)
    span = one(made)
    again = Record(*json.loads(json.dumps(span)))
    assert again.attributes == span.attributes
    json.dumps(span, ensure_ascii=False).encode()


def test_the_edge_imports_nothing_of_opentelemetry() -> None:
    code = "import sys, portico.edge.worker; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "portico" in loaded
    assert not {"opentelemetry", "requests", "urllib3", "google"} & set(loaded)


def test_the_queue_is_bounded_and_what_can_t_be_sent_is_counted() -> None:
    async def main() -> None:
        services = Services()
        spans = Spans(services, "edge-0")
        assert spans.tracer(None, KEY) is None
        tracer = spans.tracer(Tracing("", 1.0), KEY)
        assert tracer is not None

        def ends() -> None:
            made = finished()
            trace: Trace = tracer.begin(made)
            trace.finish(made, 100.1)

        for _ in range(MOST + 10):
            ends()
        assert spans.dropped == 10
        for _ in range(1000):
            await asyncio.sleep(0)
        sent = [len(body["spans"]) for body in services.bodies]
        assert sum(sent) == MOST
        assert max(sent) <= 512
        assert {body["instance"] for body in services.bodies} == {"edge-0"}
        Record(*services.bodies[0]["spans"][0])
        for status in (0, 503):
            services.status = status
            ends()
            await spans.stop()
            tracer = spans.tracer(Tracing("", 1.0), KEY)
            assert tracer is not None
        assert spans.dropped == 12
        services.status = 204
        ends()
        await spans.stop()
        await spans.stop()
        assert spans.dropped == 12
        assert len(services.bodies[-1]["spans"]) == 1

    asyncio.run(main())
