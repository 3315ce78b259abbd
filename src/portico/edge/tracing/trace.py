"""The trace that a request belongs to, and what is noted of one that is sampled. Only while tracing is on."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from portico.edge.http1.names import TRACEPARENT
from portico.telemetry.tracing.context import Parent, parse, state_is_valid

if TYPE_CHECKING:
    from portico.edge.exchange import Exchange

POOL: Final = 4096  # random bytes fetched at once, enough for some 170 requests
TRACE_ID: Final = 32  # hexadecimal digits
SPAN_ID: Final = 16
WHOLE: Final = 1 << 56  # a share of this many decides
CRLF: Final = b"\r\n"
WAITED: Final = -1  # among phases: a step that needed time has its answer


class Attempt:
    """One try of an upstream target; times are monotonic, 0 as long as it has not come to that."""

    def __init__(self, span_id: bytes, upstream: bytes, began: float) -> None:
        self.span_id = span_id
        self.upstream = upstream
        self.began = began
        self.sent = 0.0  # there was a connection, and the request's head was written
        self.headed = 0.0  # the head of its answer was there
        self.ended = 0.0
        self.status = 0
        self.code = ""  # why it failed


class Trace:
    """One request's ids, and if it is sampled, its phases and attempts."""

    def __init__(self, tracer: Tracer, trace_id: bytes, span_id: bytes, parent_id: bytes, sampled: bool) -> None:
        self.tracer = tracer
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id  # empty: nobody's child
        self.sampled = sampled
        self.state = True  # the caller's tracestate is passed on
        self.told = span_id  # as whose child the upstream works
        self.phase = 0
        self.phases: list[tuple[int, float]] = []  # when the first step of each was asked, and waiting was over
        self.attempts: list[Attempt] = []

    def enter(self, phase: int) -> None:
        """A step of this phase is asked."""
        if phase != self.phase:
            self.phase = phase
            self.phases.append((phase, time.monotonic()))

    def waited(self) -> None:
        """A step that had to wait, for the services or the shared store, has its answer."""
        if self.sampled:
            self.phases.append((WAITED, time.monotonic()))

    def attempt(self, upstream: bytes) -> None:
        """A target is asked, or the next one."""
        if not self.sampled:
            return
        now = time.monotonic()
        self._close(now)
        self.told = self.tracer.digits(SPAN_ID)
        self.attempts.append(Attempt(self.told, upstream, now))

    def answered(self, status: int) -> None:
        """The head of a target's answer is there."""
        if self.attempts:
            attempt = self.attempts[-1]
            attempt.status = status
            attempt.headed = time.monotonic()

    def failed(self, code: str) -> None:
        """The target could not be reached, or gave no answer."""
        if self.attempts:
            self.attempts[-1].code = code
            self._close(time.monotonic())

    def finish(self, exchange: Exchange, now: float) -> None:
        """The exchange has ended."""
        if self.sampled:
            self._close(now)
            self.tracer.end(exchange, self, now)

    def lines(self, kept: bytes) -> bytes:
        """The request's fields with the traceparent that goes upstream in place of the caller's."""
        if self.attempts:
            self.attempts[-1].sent = time.monotonic()
        passed = without(kept, b"\r\ntraceparent:")
        if not self.state:
            passed = without(passed, b"\r\ntracestate:")
        ends = b"-01" if self.sampled else b"-00"
        return b"".join([passed, b"\r\ntraceparent: 00-", self.trace_id, b"-", self.told, ends])

    def _close(self, now: float) -> None:
        if self.attempts and self.attempts[-1].ended == 0.0:
            self.attempts[-1].ended = now


class Tracer:
    """Decides by the trace's id, so that every edge process decides alike.

    Of an id from elsewhere a keyed hash decides: who chooses ids can't choose what is sampled. With `trust` the flag of
    a valid traceparent decides in its place. `end` is given each sampled request when it has ended.
    """

    def __init__(self, sample: float, trust: bool, key: bytes, end: Callable[[Exchange, Trace, float], None]) -> None:
        self.share = int(sample * WHOLE)
        self.trust = trust
        self.key = key
        self.end = end
        self.pool = b""
        self.used = 0

    def begin(self, exchange: Exchange) -> Trace:
        """The trace of a request whose head has been read: its caller's, if that is told validly, or a new one."""
        given = exchange.fields.known.get(TRACEPARENT)
        parent = parse(given) if given is not None else None
        if parent is None:
            trace_id = self.digits(TRACE_ID)
            trace = Trace(self, trace_id, self.digits(SPAN_ID), b"", int(trace_id[18:], 16) < self.share)
            trace.state = False
        else:
            sampled = parent.sampled if self.trust else self.chosen(parent)
            trace = Trace(self, parent.trace_id, self.digits(SPAN_ID), parent.span_id, sampled)
            state = exchange.fields.get(b"tracestate")
            trace.state = state is None or state_is_valid(state)
        return trace

    def chosen(self, parent: Parent) -> bool:
        """Whether a trace that began elsewhere is sampled here."""
        digest = hashlib.blake2b(parent.trace_id, digest_size=7, key=self.key).digest()
        return int.from_bytes(digest, "big") < self.share

    def digits(self, count: int) -> bytes:
        """So many random hexadecimal digits."""
        used = self.used
        if used + count > len(self.pool):
            self.pool = os.urandom(POOL).hex().encode()
            used = 0
        self.used = used + count
        return self.pool[used : used + count]


def without(lines: bytes, mark: bytes) -> bytes:
    """Field lines, each after its CRLF, without those that begin with `mark`: CRLF, a lower-case name and a colon."""
    lower = lines.lower()
    at = lower.find(mark)
    while at >= 0:
        end = lines.find(CRLF, at + 2)
        if end < 0:
            end = len(lines)
        lines = lines[:at] + lines[end:]
        lower = lower[:at] + lower[end:]
        at = lower.find(mark, at)
    return lines
