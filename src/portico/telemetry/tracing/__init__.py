"""Spans: what happened within one request, and how long each part took. Nothing is recorded while tracing is off.

    with tracing.span("charge the card", tracing.CLIENT, {"peer": "bank"}) as span:
        ...

records a part of whatever is being traced in this task, and costs a look at a context variable when nothing is. The
edge makes its spans itself (`portico.edge.tracing`); those of all processes leave through the services, by what
`portico.telemetry.tracing.process` keeps there.
"""

from portico.telemetry.tracing.context import Parent, parse, state_is_valid
from portico.telemetry.tracing.record import CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER, Record, Value
from portico.telemetry.tracing.span import Span, begin, current, span, traceparent

__all__ = [
    "CLIENT",
    "CONSUMER",
    "INTERNAL",
    "PRODUCER",
    "SERVER",
    "Parent",
    "Record",
    "Span",
    "Value",
    "begin",
    "current",
    "parse",
    "span",
    "state_is_valid",
    "traceparent",
]
