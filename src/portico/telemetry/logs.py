"""Application logs: one event a line, JSON or pretty, with secrets masked before anything is written.

    configure("info", "auto", sys.stderr, process="edge-0")
    log = get("portico.edge")
    log.warning("upstream refused", upstream="users", request_id="…")

Every line has `time` (RFC 3339, UTC), `level`, `event`, `source`, `process`; in a request of the services also
`request_id`. What libraries log through the standard `logging` comes out the same way.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

MASKED: Final = "[masked]"
MAX_TEXT: Final = 8192  # characters of one value: a log is no place for a body
MAX_ITEMS: Final = 64
MAX_DEPTH: Final = 6
TALKATIVE: Final = ("alembic", "sqlalchemy", "aiosqlite", "asyncio")  # libraries whose info is about themselves
FORMATS: Final = ("auto", "pretty", "json")
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_SECRET_NAME: Final = re.compile(
    r"passw(or)?d|passphrase|secret|token|authorization|api[_-]?key|private[_-]?key|cookie|credential", re.IGNORECASE
)
_SECRET_TEXT: Final = re.compile(
    r"(?P<key>pk_)[A-Za-z0-9_\-]+"
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~\-]{8,}"
    r"|(?P<url>://)[^/\s@]+@",
    re.IGNORECASE,
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")  # all but tab and newline


def configure(level: str, format: str, stream: TextIO, *, process: str = "") -> None:  # noqa: A002
    """Set how this process logs from now on; a second call replaces the first.

    `level` is debug, info, warning, error or critical; `format` is pretty, json, or auto (pretty on a terminal).
    `process` is put into every line.
    """
    if format not in FORMATS:
        raise ValueError(f"format is one of {', '.join(FORMATS)}, not {format!r}")
    number = LEVELS[level]
    structlog = _structlog()
    pretty = format == "pretty" or (format == "auto" and stream.isatty())
    structlog.configure(
        processors=_processors(structlog, stream, process, pretty),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(_Unfailing(stream)),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(number, logging.INFO))  # libraries' debug output carries bodies and credentials
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def get(name: str) -> FilteringBoundLogger:
    """A logger; `configure` decides what becomes of its events, also when called later."""
    logger: FilteringBoundLogger = _structlog().get_logger(source=name)
    return logger


def bound(**fields: str) -> AbstractContextManager[None]:
    """Within this context (and the tasks made in it) every line carries these fields."""
    context: AbstractContextManager[None] = _structlog().contextvars.bound_contextvars(**fields)
    return context


def _structlog() -> Any:
    """The library, without the one that it imports for coloured tracebacks: 40 ms and 5 MB that no process needs."""
    if "rich" in sys.modules or "structlog" in sys.modules:
        import structlog
    else:
        sys.modules["rich"] = None  # type: ignore[assignment]  # how Python is told that a module isn't there
        try:
            import structlog
        finally:
            del sys.modules["rich"]
    return structlog


def _processors(structlog: Any, stream: TextIO, process: str, pretty: bool) -> list[Processor]:
    steps: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        mask,
        _Frame(process),
    ]
    if pretty:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
        )
        return [*steps, _printable, renderer]
    return [*steps, structlog.processors.JSONRenderer(default=str, ensure_ascii=True)]


class _Frame:
    """Puts what every line has before what this one says."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        first = {name: event.pop(name) for name in ("time", "level", "event", "source") if name in event}
        return {**first, **({"process": self._process} if self._process else {}), **event}


class _Unfailing:
    """A stream for a logger: a terminal that was closed, or a full disk, stops no request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: the stream was closed here
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Forward(logging.Handler):
    """Takes what libraries log through `logging`."""

    def emit(self, record: logging.LogRecord) -> None:
        get(record.name).log(record.levelno, record.getMessage().rstrip(), exc_info=record.exc_info or False)


def mask(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The event without secrets: what stands under a secret's name, and what looks like one anywhere in a text."""
    for name, value in event.items():
        event[name] = _masked(name, value, 0)
    return event


def _masked(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value  # a number of tokens is no token
    if _SECRET_NAME.search(name):
        return MASKED
    if isinstance(value, bytes):
        value = value[:MAX_TEXT].decode("latin-1")
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _masked_items(name, value, depth + 1)
    return clean(value if isinstance(value, str) else str(value))


def _masked_items(name: str, value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _masked(str(key), item, depth) for key, item in list(value.items())[:MAX_ITEMS]}
    return [_masked(name, item, depth) for item in list(value)[:MAX_ITEMS]]


def clean(text: str) -> str:
    """The text without keys, bearer tokens and passwords in URLs, and not longer than MAX_TEXT."""
    # Cut generously first, so that a long text costs little, and exactly only afterwards: no secret is cut in half.
    text = _SECRET_TEXT.sub(_hide, text[: 2 * MAX_TEXT])
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def _hide(match: re.Match[str]) -> str:
    kept = match["key"] or match["scheme"] or match["url"]
    return f"{kept}{MASKED}" + ("@" if match["url"] else "")


def _printable(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No control characters reach a terminal (JSON escapes them by itself); only tracebacks keep their lines."""
    for name, value in event.items():
        if isinstance(value, str):
            text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
            event[name] = text if name == "exception" else text.replace("\n", "\\n")
    return event
