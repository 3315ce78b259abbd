"""A small OTLP/HTTP collector for tests: takes what is exported, and keeps the spans and every byte that came."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from portico.testing import wait_for

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass
class Seen:
    """One span, as it came."""

    service: str
    instance: str
    name: str
    kind: str
    trace_id: str
    id: str
    parent: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, int]] = field(default_factory=list)


class Collector:
    """`with Collector() as collector:` listens on a port of 127.0.0.1; `answer` may be replaced to be a bad one.

    `answer(handler)` is called when a batch has been read, and writes the HTTP answer.
    """

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None] | None = None) -> None:
        self.answer = answer or well
        self.spans: list[Seen] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.bytes = b""
        self.batches = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5.0)

    def trace(self, trace_id: str) -> list[Seen]:
        """The spans of one trace, by their beginning."""
        return sorted((span for span in list(self.spans) if span.trace_id == trace_id), key=lambda span: span.start)

    def complete(self, trace_id: str, count: int, timeout: float = 10.0) -> list[Seen]:
        """The spans of a trace, once there are `count`, and the parents of all but the edge's own at the top."""

        def whole() -> bool:
            spans = self.trace(trace_id)
            ids = {span.id for span in spans}
            top = [span for span in spans if span.parent not in ids]
            return len(spans) >= count and all(span.kind == "server" and span.service.endswith("-edge") for span in top)

        wait_for(whole, timeout)
        return self.trace(trace_id)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Keep a batch."""
        raw = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        found = ExportTraceServiceRequest.FromString(raw)
        self.paths.append(path)
        self.headers.append(headers)
        self.bytes += raw
        for each in found.resource_spans:
            resource = plain(each.resource.attributes)
            for scope in each.scope_spans:
                self.spans += [seen(span, resource) for span in scope.spans]
        self.batches += 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                collector.answer(self)

            def log_message(self, *_: object) -> None:
                return

        return Handler


def well(handler: BaseHTTPRequestHandler, status: int = 200) -> None:
    """Answer with a status and no body."""
    handler.send_response(status)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def seen(span: Any, resource: dict[str, Any]) -> Seen:
    return Seen(
        resource["service.name"],
        resource["service.instance.id"],
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        plain(span.attributes),
        [(event.name, event.time_unix_nano) for event in span.events],
    )
