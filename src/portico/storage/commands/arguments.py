"""Arguments of commands: taken out one by one, each checked, none left over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any

from portico.errors import AccountError, CommandError

SECRET = ("sha256", "mark", "family")  # fields that no answer has


class Arguments:
    """The arguments of one call. What is None counts as not given."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}

    def text(self, name: str, default: str | None = None) -> str:
        """Text; CommandError when there is none and no default."""
        value = self._given.pop(name, default)
        if value is None:
            raise CommandError(f"{name} is needed")
        if not isinstance(value, str):
            raise CommandError(f"{name} must be text")
        return value

    def texts(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts."""
        value = self._given.pop(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise CommandError(f"{name} must be a list of texts")
        return tuple(value)

    def whole(self, name: str) -> int | None:
        """A whole number, or None."""
        value = self._given.pop(name, None)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise CommandError(f"{name} must be a whole number")
        return value

    def truth(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._given.pop(name, default)
        if not isinstance(value, bool):
            raise CommandError(f"{name} must be true or false")
        return value

    def seconds(self, name: str, default: float | None = None) -> float | None:
        """A duration: text such as 30d, or a number of seconds."""
        value = self._given.pop(name, default)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0):
            return value
        from portico.config import units  # here: storage loads nothing of `portico.config` by itself

        try:
            return units.duration(value)
        except ValueError as error:
            raise CommandError(f"{name} {error}") from None

    def end(self) -> None:
        """Nothing else was to come."""
        if self._given:
            raise CommandError(f"{', '.join(sorted(self._given))}: no such argument")


@contextmanager
def answered() -> Iterator[None]:
    """A broken rule is a CommandError, with the rule's own sentence."""
    try:
        yield
    except AccountError as error:
        raise CommandError(str(error)) from error


def plain(record: Any) -> dict[str, Any]:
    """A record as JSON values; times as RFC 3339 has them."""
    values = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in SECRET}
    return {name: _plain(value) for name, value in values.items()}


def page(records: list[Any], cursor: str | None) -> dict[str, Any]:
    """A page of records."""
    return {"items": [plain(record) for record in records], "next_cursor": cursor}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return list(value) if isinstance(value, tuple) else value
