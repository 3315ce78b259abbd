"""How commands print: text for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from portico.cli.exits import code_of
from portico.errors import ConfigError, PorticoError


def show(value: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print `value` as JSON, or else `lines`."""
    print(json.dumps(value, indent=2) if as_json else "\n".join(lines), flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns of text, as wide as they need to be; an empty cell shows as "-"."""
    cells = [[str(cell) or "-" for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def tell(error: PorticoError, as_json: bool) -> None:
    """The error as one sentence (a list, for a configuration) and what to do about it, on standard error.

    As JSON it goes to standard output, where the answer would have been.
    """
    if as_json:
        problems = error.problems if isinstance(error, ConfigError) else []
        listed = [{"file": p.file, "line": p.line, "path": p.path, "message": p.message} for p in problems]
        told = {"error": str(error), "hint": error.hint, "code": code_of(error), "problems": listed}
        print(json.dumps(told, indent=2), flush=True)
    elif isinstance(error, ConfigError):
        print(f"{error}\n{_hint(error)}".rstrip(), file=sys.stderr)
    else:
        print(f"portico: {error}\n{_hint(error)}".rstrip(), file=sys.stderr)


def duration(seconds: float) -> str:
    """Seconds as people say them: 4 s, 12 min, 3 h, 2 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def count(number: int, what: str) -> str:
    """1 route, 2 routes."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def moment(text: str | None) -> str:
    """A time of an answer (RFC 3339, UTC) as a column has it: to the minute."""
    return f"{text[:10]} {text[11:16]}" if text else ""


def more(command: str, page: dict[str, Any]) -> list[str]:
    """How to get the next page of a list, if there is one."""
    cursor = page["next_cursor"]
    return ["", f"There are more: portico {command} --after {cursor}"] if cursor else []


def _hint(error: PorticoError) -> str:
    return f"hint: {error.hint}\n" if error.hint else ""
