"""Tables as CSV (RFC 4180), row by row, safe to open in a spreadsheet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from fastapi import Request
from fastapi.responses import StreamingResponse

from portico.services.views import moment

MEDIA_TYPE: Final = "text/csv"
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet compute a text
SPECIAL: Final = frozenset('",\r\n')

Cell = str | int | float | datetime | None


def wanted(request: Request, given: str | None) -> bool:
    """Whether to answer CSV: `given`, the parameter `format`, says so, or else Accept prefers it to JSON."""
    if given is not None:
        return given == "csv"
    accepted = _accepted(request.headers.get("accept", ""))
    return accepted.get(MEDIA_TYPE, 0.0) > accepted.get("application/json", 0.0)


def answer(name: str, columns: Sequence[str], rows: AsyncIterator[Iterable[Cell]]) -> StreamingResponse:
    """A download called `name`.csv, written as its rows come."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(_lines(columns, rows), media_type=f"{MEDIA_TYPE}; charset=utf-8", headers=headers)


async def _lines(columns: Sequence[str], rows: AsyncIterator[Iterable[Cell]]) -> AsyncIterator[str]:
    yield line(columns)
    async for row in rows:
        yield line(row)


async def at_hand(rows: Iterable[Iterable[Cell]]) -> AsyncIterator[Iterable[Cell]]:
    """Rows that are there already."""
    for row in rows:
        yield row


def line(cells: Iterable[Cell]) -> str:
    """One record, with its end."""
    return ",".join(map(_cell, cells)) + "\r\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment(value)
    if not isinstance(value, str):
        return str(value)
    text = "'" + value if value.startswith(FORMULA) else value
    return '"' + text.replace('"', '""') + '"' if SPECIAL.intersection(text) else text


def _accepted(field: str) -> dict[str, float]:
    """Media types and their weights (RFC 9110 12.5.1); one whose weight can't be read is not wanted."""
    found: dict[str, float] = {}
    for part in field.split(",")[:32]:
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        weights = [each[2:] for each in parameters if each.startswith("q=")]
        try:
            found[name] = float(weights[0]) if weights else 1.0
        except ValueError:
            found[name] = 0.0
    return found
