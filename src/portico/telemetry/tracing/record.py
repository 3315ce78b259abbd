"""A finished span as plain values: what the edge sends to the services, and what the exporter takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

INTERNAL: Final = 0  # numbers as in OpenTelemetry's SpanKind
SERVER: Final = 1
CLIENT: Final = 2
PRODUCER: Final = 3
CONSUMER: Final = 4

Value = str | int | float | bool


class Record(NamedTuple):
    """Ids are hexadecimal, `parent_id` "" where there is none; times are nanoseconds since 1970.

    `events` are names with times. `failed` marks an error; of what kind it was is the attribute `error.type`.
    """

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: Mapping[str, Value]
    events: Sequence[tuple[str, int]] = ()
    failed: bool = False
    remote: bool = False  # the parent is another process's
