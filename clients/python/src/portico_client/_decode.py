"""Makes models of what an answer has."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from portico_client.errors import UnexpectedAnswer

Model = TypeVar("Model")
Read = Callable[[Any], Any]

_PLAIN: dict[type, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (float, int)}


def decode(kind: type[Model], value: Any) -> Model:
    """The model; what it does not know is dropped. UnexpectedAnswer where something is missing or of another type."""
    made: Model = _reader(cast(Any, kind))(value)
    return made


@functools.cache
def _reader(kind: Any) -> Read:
    if dataclasses.is_dataclass(kind):
        return _model(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return _list(_reader(arguments[0]))
    if origin in (Union, types.UnionType):
        (inner,) = (each for each in arguments if each is not type(None))
        read = _reader(inner)
        return lambda value: None if value is None else read(value)
    if origin is Literal:
        return _plain(str)  # newer gateways may know more words
    if kind is datetime:
        return moment
    if kind is Any:
        return lambda value: value
    return _plain(origin or kind)


def _model(kind: Any) -> Read:
    hints = get_type_hints(kind)
    fields = [(each.name, hints[each.name], each.default is dataclasses.MISSING) for each in dataclasses.fields(kind)]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise UnexpectedAnswer(f"{kind.__name__} should be an object, not {type(value).__name__}")
        made = {}
        for name, hint, needed in fields:
            if name in value:
                try:
                    made[name] = _reader(hint)(value[name])
                except UnexpectedAnswer as error:
                    raise UnexpectedAnswer(f"{kind.__name__}.{name}: {error}") from None
            elif needed:
                raise UnexpectedAnswer(f"{kind.__name__} has no {name}")
        return kind(**made)

    return read


def _list(read: Read) -> Read:
    def each(value: Any) -> Any:
        if not isinstance(value, list):
            raise UnexpectedAnswer(f"should be a list, not {type(value).__name__}")
        return [read(item) for item in value]

    return each


def _plain(kind: type) -> Read:
    taken = _PLAIN.get(kind, (kind,))

    def read(value: Any) -> Any:
        if type(value) not in taken:
            raise UnexpectedAnswer(f"should be {kind.__name__}, not {type(value).__name__}")
        return kind(value)

    return read


def moment(value: Any) -> datetime:
    """RFC 3339 as a datetime with its zone."""
    try:
        # Before Python 3.11 fromisoformat does not know the Z.
        found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        raise UnexpectedAnswer(f"should be a moment, not {value!r:.60}") from None
    if found.tzinfo is None:
        raise UnexpectedAnswer(f"is a moment of no zone: {value!r:.60}")
    return found
