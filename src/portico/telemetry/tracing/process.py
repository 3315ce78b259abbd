"""Tracing in one process of the services: on or off, as the configuration says now; outlives reloads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portico import contracts
from portico.telemetry.tracing.context import parse
from portico.telemetry.tracing.record import SERVER, Record, Value
from portico.telemetry.tracing.span import Span

if TYPE_CHECKING:
    from portico.telemetry.tracing.export import Exporter


class Tracing:
    """`instance` names this process among those of the machine. OpenTelemetry is imported when tracing is first on."""

    def __init__(self, instance: str = "services-0") -> None:
        self.on = False
        self.dropped = 0  # spans that nobody took because tracing was off by then, or that could not be read
        self._instance = instance
        self._spec: contracts.Tracing | None = None
        self._exporter: Exporter | None = None
        self._told = {"spans_exported": 0, "spans_dropped": 0}  # by exporters that are no more
        self._ending: set[asyncio.Task[None]] = set()

    async def configure(self, spec: contracts.Tracing | None) -> None:
        """Go on as `spec` says. An exporter that is no longer wanted has two seconds to send the rest."""
        if spec == self._spec:
            return
        made = None if spec is None else await asyncio.to_thread(_exporter, spec, self._instance)
        old, self._exporter = self._exporter, made
        self._spec = spec
        self.on = made is not None
        if old is not None:
            task = asyncio.create_task(self._end(old))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def stop(self) -> None:
        """Send what there is, for two seconds at most; may be called twice."""
        await self.configure(None)
        if self._ending:
            await asyncio.wait(self._ending)

    async def _end(self, exporter: Exporter) -> None:
        await exporter.stop()
        for name, count in exporter.counts().items():
            self._told[name] += count

    def continued(
        self, parent: bytes, name: str, kind: int = SERVER, attributes: Mapping[str, Value] | None = None
    ) -> Span | None:
        """A span whose parent is elsewhere, by its traceparent; None when that one is not recorded, or tracing is off.

        Enter it with `with`: what happens in the block becomes part of it.
        """
        found = parse(parent) if self.on else None
        if found is None or not found.sampled:
            return None
        return Span(
            self.take, name, kind, found.trace_id.decode(), found.span_id.decode(), attributes, remote=True
        )  # fmt: skip

    def take(self, record: Record) -> None:
        """Export a span of this process."""
        if self._exporter is None:
            self.dropped += 1
        else:
            self._exporter.take(record)

    async def take_from_edge(self, body: bytes) -> None:
        """Export what an edge process sends: `{"instance": …, "spans": [[…], …]}`; ValueError when it is not that."""
        exporter = self._exporter
        if exporter is not None:
            await asyncio.to_thread(_give, exporter, body)

    def counts(self) -> dict[str, int]:
        """What the metrics show."""
        now = {} if self._exporter is None else self._exporter.counts()
        sums = {name: count + now.get(name, 0) for name, count in self._told.items()}
        sums["spans_dropped"] += self.dropped
        return sums


def _exporter(spec: contracts.Tracing, instance: str) -> Exporter:
    from portico.telemetry.tracing.export import Exporter

    return Exporter(spec, instance)


def _give(exporter: Exporter, body: bytes) -> None:
    """Runs in a thread: a batch takes some 20 ms."""
    try:
        told: dict[str, Any] = json.loads(body)
        instance = str(told["instance"])
        for row in told["spans"]:
            exporter.take(Record(*row), instance)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError("this is no batch of spans") from error
