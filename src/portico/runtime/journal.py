"""What the supervisor tells its log: `portico.telemetry.logs`, but never in the way of starting, and never fatal."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

Event = tuple[str, str, dict[str, Any]]


class Journal:
    """Keeps events until `open`, because loading the log's library before the children start would delay them."""

    def __init__(self) -> None:
        self._waiting: list[Event] | None = []
        self._log: Any = None

    def open(self, level: str, form: str) -> None:
        """Write what was kept, and from now on at once, to standard error."""
        from portico.telemetry import logs

        logs.configure(level, form, sys.stderr, process="supervisor")
        self._log = logs.get("portico.runtime")
        waiting, self._waiting = self._waiting or [], None
        for event in waiting:
            self._write(*event)

    def debug(self, event: str, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if self._waiting is not None:
            self._waiting.append((level, event, fields))
            return
        with contextlib.suppress(OSError):  # the terminal or the pipe is gone; the gateway is not
            getattr(self._log, level)(event, **fields)
