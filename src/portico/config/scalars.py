"""The scalar types of the settings: each parses, says what is allowed, and describes itself to JSON Schema.

No message repeats the value it refuses: the value may have come out of `${…}`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError, core_schema

from portico.config import units
from portico.config.substitute import Substituted, typed, untangled

_SIZE_SCHEMA: Final = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": units.SIZE_PATTERN}],
    "examples": ["32KiB", "16MiB", "1GB"],
}
_DAYS: Final = re.compile("[1-9][0-9]{0,4}d", re.ASCII)
_SUBSTITUTION: Final = {"type": "string", "pattern": r"\$\{.+\}"}


class Parse:
    """Annotation of a field whose value `parse` reads; `parse` raises ValueError with what is allowed.

    `text` keeps a substituted value as the text it is; otherwise it is typed as YAML would.
    """

    def __init__(self, parse: Callable[[Any], Any], schema: dict[str, Any], *, text: bool = False) -> None:
        self.parse = parse
        self.schema = schema
        self.text = text

    def read(self, value: Any) -> Any:
        if isinstance(value, Substituted):
            value = str(value) if self.text else typed(value)
        try:
            return self.parse(value)
        except ValueError as error:
            raise PydanticCustomError("portico", "{message}", {"message": str(error)}) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        if self.schema.get("type") == "string" and "pattern" not in self.schema and "enum" not in self.schema:
            return dict(self.schema)
        if "anyOf" in self.schema:
            return {**self.schema, "anyOf": [*self.schema["anyOf"], dict(_SUBSTITUTION)]}
        return {"anyOf": [dict(self.schema), dict(_SUBSTITUTION)]}


def integer(low: int, high: int) -> Parse:
    """A whole number from `low` to `high`."""

    def parse(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return Parse(parse, {"type": "integer", "minimum": low, "maximum": high})


def whole_days(low: int, high: int) -> Parse:
    """Whole days, as `90d`, from `low` to `high`; seconds."""

    def parse(value: Any) -> float:
        if not isinstance(value, str) or not _DAYS.fullmatch(value) or not low <= int(value[:-1]) <= high:
            raise ValueError(f"must be a number of days from {low}d to {high}d")
        return int(value[:-1]) * 86400.0

    return Parse(parse, {"type": "string", "pattern": f"^{_DAYS.pattern}$", "examples": ["90d"]}, text=True)


def sizes(low: int, low_text: str, high: int, high_text: str) -> Parse:
    """A size between two bounds, which messages show as written here."""

    def parse(value: Any) -> int:
        found = units.size(value)
        if not low <= found <= high:
            raise ValueError(f"must be a size from {low_text} to {high_text}")
        return found

    return Parse(parse, _SIZE_SCHEMA)


def choice(*allowed: str) -> Parse:
    """One of some words."""

    def parse(value: Any) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise ValueError(f"must be {' or '.join(allowed)}" + nearest(value, allowed))

    return Parse(parse, {"type": "string", "enum": list(allowed)}, text=True)


def pattern(expression: str, allowed: str) -> Parse:
    """Text that fits a regular expression whole; `allowed` completes the sentence "must be …"."""
    compiled = re.compile(expression, re.ASCII)

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"must be {allowed}")
        return value

    return Parse(parse, {"type": "string", "pattern": f"^(?:{expression})$"}, text=True)


def service(allowed: str) -> Parse:
    """The http or https address of a service that Portico calls; `allowed` completes the sentence "must be …"."""
    message = f"must be {allowed}, without user, query or fragment"

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or set(value) & set(" \\?#"):
            raise ValueError(message)
        try:
            parts = urlsplit(value)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            raise ValueError(message) from None
        if not known or "@" in parts.netloc:
            raise ValueError(message)
        return value

    return Parse(parse, {"type": "string"}, text=True)


def nearest(value: Any, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when one of the known words is near; only known words are ever shown."""
    near = difflib.get_close_matches(value, list(known), n=1) if isinstance(value, str) and len(value) < 100 else []
    return f"; did you mean {near[0]!r}?" if near and near[0] != value else ""


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be text without control characters; put numbers and such words in quotes")
    return value


def _positive_duration(value: Any) -> float:
    seconds = units.duration(value)
    if seconds <= 0:
        raise ValueError("must be a duration above 0, with a unit, such as 500ms, 10s, 5m or 1h")
    return seconds


def _free(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ValueError("must be a mapping")
    return untangled(value or {})  # type: ignore[no-any-return]


NAME_PATTERN: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_NAME: Final = "a name: up to 64 letters, digits, '_', '-' and '.', not beginning with '-' or '.'"
_DURATION_SCHEMA: Final = {
    "anyOf": [{"type": "integer", "const": 0}, {"type": "string", "pattern": units.DURATION_PATTERN}],
    "examples": ["500ms", "10s", "5m", "1h"],
}
_RATIO_SCHEMA: Final = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": units.RATIO_PATTERN},
    ],
    "examples": ["20%", 0.5],
}

Truth = Annotated[bool, Parse(_truth, {"type": "boolean"})]
Text = Annotated[str, Parse(_text, {"type": "string", "minLength": 1}, text=True)]
Name = Annotated[str, pattern(NAME_PATTERN, _NAME)]
Size = Annotated[int, Parse(units.size, _SIZE_SCHEMA)]
Duration = Annotated[float, Parse(units.duration, _DURATION_SCHEMA)]
PositiveDuration = Annotated[float, Parse(_positive_duration, _DURATION_SCHEMA)]
Ratio = Annotated[float, Parse(units.ratio, _RATIO_SCHEMA)]
Rate = Annotated[
    tuple[int, str], Parse(units.rate, {"type": "string", "pattern": units.RATE_PATTERN, "examples": ["600/minute"]})
]
Free = Annotated[dict[str, Any], Parse(_free, {"type": "object"})]
