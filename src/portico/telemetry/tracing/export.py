"""Spans on their way to a collector, by OpenTelemetry's SDK: OTLP over HTTP, in batches, in a thread of its own.

Nobody waits for the collector. What it does not take in time is dropped and counted. Imported only while tracing is on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

import portico
from portico import contracts
from portico.telemetry import logs
from portico.telemetry.tracing.record import Record

MOST: Final = 4096  # spans that wait
BATCH: Final = 512
EVERY: Final = 200.0  # milliseconds between two batches, if none is full before
PATIENCE: Final = 5.0  # seconds for the collector's answer
PARTING: Final = 1.8  # seconds for the last batches
ANSWER: Final = 64 * 1024  # bytes of an answer that are read
KINDS: Final = (SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER)
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class Exporter:
    """Takes finished spans from any thread."""

    def __init__(self, spec: contracts.Tracing, instance: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would tell of every batch
        self._spec = spec
        self._machine = socket.gethostname()
        self._resources: dict[str, Resource] = {}
        self._own = self._resource("services", instance)
        self._scope = InstrumentationScope("portico", portico.__version__)
        self._lock = threading.Lock()
        self._submitted = 0
        self._refused = 0
        self._sender = _Sender(spec)
        self._batches = BatchSpanProcessor(self._sender, 2 * MOST, EVERY, BATCH)

    def take(self, record: Record, edge: str = "") -> None:
        """Send a span, in time; `edge` names the edge process that made it. ValueError when it is none."""
        span = self._readable(record, self._edge(edge) if edge else self._own)
        with self._lock:
            if self._submitted - self._sender.taken >= MOST:
                self._refused += 1
                return
            self._submitted += 1
        self._batches.on_end(span)

    async def stop(self) -> None:
        """Send what waits, for PARTING seconds at most; whatever still waits then is dropped."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._end, args=(loop, ended), name="spans-end", daemon=True).start()
        try:
            async with asyncio.timeout(PARTING):
                await ended.wait()
        except TimeoutError:
            self._sender.shutdown()

    def counts(self) -> dict[str, int]:
        """Spans that the collector has taken, and those that were dropped."""
        sender = self._sender
        failed = self._submitted - sender.exported if sender.ended else sender.failed
        return {"spans_exported": sender.exported, "spans_dropped": failed + self._refused}

    def _end(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        self._batches.shutdown()  # type: ignore[no-untyped-call]
        with suppress(RuntimeError):  # the loop has closed: nobody waits any longer
            loop.call_soon_threadsafe(ended.set)

    def _edge(self, instance: str) -> Resource:
        found = self._resources.get(instance)
        if found is None:
            if len(self._resources) >= BATCH:
                self._resources.clear()
            found = self._resources[instance] = self._resource("edge", instance)
        return found

    def _resource(self, half: str, instance: str) -> Resource:
        return Resource({
            "service.name": f"{self._spec.service_name}-{half}",
            "service.version": portico.__version__,
            "service.instance.id": f"{self._machine}/{instance}",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
        })  # fmt: skip

    def _readable(self, record: Record, resource: Resource) -> ReadableSpan:
        trace_id = int(record.trace_id, 16)
        parent = None
        if record.parent_id:
            parent = SpanContext(trace_id, int(record.parent_id, 16), record.remote, SAMPLED)
        return ReadableSpan(
            record.name,
            SpanContext(trace_id, int(record.span_id, 16), False, SAMPLED),
            parent,
            resource,
            attributes=dict(record.attributes),
            events=[Event(name, timestamp=at) for name, at in record.events],
            kind=KINDS[record.kind],
            status=Status(StatusCode.ERROR) if record.failed else Status(StatusCode.UNSET),
            start_time=record.start,
            end_time=record.end,
            instrumentation_scope=self._scope,
        )


class _Sender(SpanExporter):
    """The SDK's exporter, counted; of a collector that takes nothing the log is told once, and once when it does."""

    def __init__(self, spec: contracts.Tracing) -> None:
        self.taken = 0  # out of the queue
        self.exported = 0
        self.failed = 0
        self._session = _Session()
        self._told = False
        self.ended = False
        self._otlp = OTLPSpanExporter(
            endpoint=spec.endpoint,
            headers=spec.headers,
            timeout=PATIENCE,
            compression=Compression.Gzip,
            session=self._session,
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; it takes as long as the collector, but not much longer than PATIENCE."""
        self.taken += len(spans)
        result = self._otlp.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        else:
            self.failed += len(spans)
        self._tell(result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """Give up waiting; may be called twice."""
        if not self.ended:
            self.ended = True
            self._otlp.shutdown()  # type: ignore[no-untyped-call]

    def _tell(self, well: bool) -> None:
        if well is not self._told or self.ended:
            return
        self._told = not well
        log = logs.get("portico.tracing")
        if well:
            log.info("the collector takes spans again")
        else:
            log.warning(
                "the collector does not take spans; requests go on, spans are dropped", cause=self._session.last
            )


class _Session(requests.Session):
    """Reads a bounded piece of each answer, and keeps in `last` what went wrong; no proxy, no .netrc."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.last = ""

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Send a request, and take no more than ANSWER bytes of what comes."""
        try:
            answer = super().request(method, url, *args, **{**options, "stream": True})
            if len(answer.raw.read(ANSWER + 1)) > ANSWER:
                answer.close()
        except Exception as error:
            self.last = type(error).__name__
            raise
        self.last = f"it answered {answer.status_code}"
        if answer.is_redirect:
            raise requests.exceptions.TooManyRedirects("a collector has one address")
        return answer
