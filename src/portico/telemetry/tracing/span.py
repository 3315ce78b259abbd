"""The span of now, in the task that runs; and how a part of it is recorded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final

from portico.telemetry.tracing.record import INTERNAL, Record, Value

Sink = Callable[[Record], None]


class Span(AbstractContextManager["Span"]):
    """A part of a traced request that has begun; `end` gives it away, and so does leaving its `with` block.

    Within the block it is the span of now: what begins there is its child. An exception that leaves the block marks it
    as failed, by its type alone.
    """

    __slots__ = ("_events", "_parent", "_remote", "_sink", "_start", "_token",
                 "attributes", "ended", "failed", "id", "kind", "name", "trace_id")  # fmt: skip

    def __init__(
        self,
        sink: Sink,
        name: str,
        kind: int,
        trace_id: str,
        parent: str,
        attributes: Mapping[str, Value] | None,
        remote: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.id = os.urandom(8).hex()
        self.attributes: dict[str, Value] = dict(attributes or {})
        self.failed = False
        self._sink = sink
        self._parent = parent
        self._remote = remote
        self._events: list[tuple[str, int]] = []
        self._start = time.time_ns()
        self.ended = False
        self._token: Token[Span | None] | None = None

    def child(self, name: str, kind: int = INTERNAL, attributes: Mapping[str, Value] | None = None) -> Span:
        """A part of this one, which begins now."""
        return Span(self._sink, name, kind, self.trace_id, self.id, attributes)

    def event(self, name: str) -> None:
        """Note that something happened now."""
        self._events.append((name, time.time_ns()))

    def fail(self, kind: str) -> None:
        """Mark it as failed; `kind` is a word or a type's name, never a message."""
        self.failed = True
        self.attributes["error.type"] = kind

    def end(self) -> None:
        """It is over; only the first call counts."""
        if self.ended:
            return
        self.ended = True
        end = max(time.time_ns(), self._start)
        events, failed, remote = self._events, self.failed, self._remote
        ids = self.trace_id, self.id, self._parent
        self._sink(Record(self.name, self.kind, *ids, self._start, end, self.attributes, events, failed, remote))

    def __enter__(self) -> Span:
        self._token = _NOW.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _NOW.reset(self._token)
            self._token = None
        if kind is not None and not self.failed:
            self.fail(kind.__name__)
        self.end()


_NOW: Final[ContextVar[Span | None]] = ContextVar("portico_span", default=None)
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


def current() -> Span | None:
    """The span of now; None: nothing is traced here, or what is has ended, and this task has outlived it."""
    now = _NOW.get()
    return None if now is None or now.ended else now


def begin(name: str, kind: int = INTERNAL, attributes: Mapping[str, Value] | None = None) -> Span | None:
    """A part of the span of now, for where no `with` block fits: the caller ends it. None: nothing is traced here."""
    now = current()
    return None if now is None else now.child(name, kind, attributes)


def span(
    name: str, kind: int = INTERNAL, attributes: Mapping[str, Value] | None = None
) -> AbstractContextManager[Span | None]:
    """`with span(…) as made:` records the block as a part of the span of now; `made` is None: nothing is traced."""
    now = current()
    return _NOTHING if now is None else now.child(name, kind, attributes)


def traceparent() -> str:
    """The span of now as a traceparent, to be kept with work that goes on later or elsewhere; "": nothing is traced."""
    now = current()
    return "" if now is None else f"00-{now.trace_id}-{now.id}-01"
