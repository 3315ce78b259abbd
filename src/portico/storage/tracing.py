"""Spans of the database: one for each statement of a traced request, by its kind and table. No statement, no value."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from portico.telemetry import tracing

OPEN: Final = "portico.spans"  # in a connection's `info`: what has begun on it, the last one last
OPERATION: Final = re.compile(r"\s*(?:--[^\n]*\n\s*)*([A-Za-z]+)")
TABLE: Final = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+\"?([A-Za-z_][A-Za-z0-9_]*)", re.IGNORECASE)


def observe(engine: Engine, system: str) -> None:
    """Record what is executed on `engine`; `system` is sqlite or postgresql. Costs nothing where nothing is traced."""

    def before(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        name, attributes = described(statement, system) if tracing.current() is not None else ("", {})
        span = tracing.begin(name, tracing.CLIENT, attributes) if name else None
        if span is not None:
            connection.info.setdefault(OPEN, []).append(span)

    def after(connection: Connection, *_: Any) -> None:
        if tracing.current() is not None and (spans := connection.info.get(OPEN)):
            spans.pop().end()

    def failed(context: ExceptionContext) -> None:
        connection = context.connection
        if tracing.current() is not None and connection is not None and (spans := connection.info.get(OPEN)):
            span = spans.pop()
            span.fail(type(context.original_exception).__name__)
            span.end()

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


def described(statement: str, system: str) -> tuple[str, dict[str, tracing.Value]]:
    """Name and attributes of a statement's span: SELECT keys, with db.operation.name and db.collection.name."""
    found, table = OPERATION.match(statement), TABLE.search(statement)
    operation = found.group(1).upper() if found is not None else "statement"
    attributes: dict[str, tracing.Value] = {"db.system.name": system, "db.operation.name": operation}
    if table is None:
        return operation, attributes
    attributes["db.collection.name"] = table.group(1)
    return f"{operation} {table.group(1)}", attributes
