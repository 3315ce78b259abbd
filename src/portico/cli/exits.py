"""Exit codes, as documented in docs/reference/exit-codes.md."""

from __future__ import annotations

from typing import Final

from portico.errors import AlreadyRunning, ConfigError, NotRunning, PorticoError, VariableError

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
CONFIG: Final = 3
NOT_RUNNING: Final = 4
ALREADY_RUNNING: Final = 5
MALICIOUS: Final = 6
INCOMPLETE: Final = 7
INTERRUPTED: Final = 130


def code_of(error: PorticoError) -> int:
    """The exit code that tells a script what kind of error it was."""
    match error:
        case ConfigError() | VariableError():
            return CONFIG
        case NotRunning():
            return NOT_RUNNING
        case AlreadyRunning():
            return ALREADY_RUNNING
        case _:
            return FAILURE
