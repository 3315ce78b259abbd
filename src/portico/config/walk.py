"""Steps through models and data side by side: which model stands at a path, which keys it has, what came from where."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag

from portico.config.base import Strict
from portico.config.substitute import Kept, Path_


def keys_of(model: type[BaseModel]) -> dict[str, Any]:
    """The keys of a model as files write them, each with the type of its value."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def model_at(kind: Any, loc: Path_) -> type[BaseModel] | None:
    """The model that stands at a Pydantic location below `kind`, if one does."""
    for part in loc:
        kind = _below(kind, part)
    return next((member for _, member in _members(kind) if _is_model(member)), None)


def models(model: Strict, data: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Strict]]:
    """A model and all below it, each with its path in the file (`data` knows what was taken out of lists)."""
    yield path, model
    for name, field in type(model).model_fields.items():
        key = field.alias or name
        below = data.get(key) if isinstance(data, dict) else None
        yield from _values(getattr(model, name), below, (*path, key))


def indexed(values: list[Any], data: Any) -> Iterator[tuple[int, Any]]:
    """The values of a list, each with the index that it has in the file."""
    return zip(data.indices if isinstance(data, Kept) else range(len(values)), values, strict=True)


def _values(value: Any, data: Any, path: Path_) -> Iterator[tuple[Path_, Strict]]:
    if isinstance(value, Strict):
        yield from models(value, data, path)
    elif isinstance(value, list):
        for position, (index, item) in enumerate(indexed(value, data)):
            below = data[position] if isinstance(data, list) else None
            yield from _values(item, below, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _values(item, data.get(key) if isinstance(data, dict) else None, (*path, key))


def _below(kind: Any, part: str | int) -> Any:
    for tag, member in _members(kind):
        if tag is not None and tag == part:
            return member
        if _is_model(member) and part in (keys := keys_of(member)):
            return keys[str(part)]
        if get_origin(member) in (list, dict):
            return get_args(member)[-1]
    return None


def _members(kind: Any, tag: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """The types that a union stands for, with the tags that tell them apart; any other type is its only member."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *notes = get_args(kind)
        yield from _members(inner, next((note.tag for note in notes if isinstance(note, Tag)), tag))
    elif origin in (Union, UnionType):
        for member in get_args(kind):
            yield from _members(member, tag)
    elif kind is not None and kind is not type(None):
        yield tag, kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
