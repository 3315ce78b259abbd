"""The base of every model of the configuration: strict, frozen, lean to import, and silent about its values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from portico.config.substitute import Finding

K = TypeVar("K")
T = TypeVar("T")


class Strict(BaseModel):
    """Unknown keys are errors; an empty section (`server:` with nothing after it) has all defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value

    def check(self) -> Iterator[Finding]:
        """What is wrong between the keys of this model: paths relative to it, and messages."""
        return iter(())

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return []  # values may be secrets


def _empty_list(value: Any) -> Any:
    return [] if value is None else value


def _empty_mapping(value: Any) -> Any:
    return {} if value is None else value


Several = Annotated[list[T], BeforeValidator(_empty_list)]
Named = Annotated[dict[K, T], BeforeValidator(_empty_mapping)]


def beside(folder: Path, file: str | None) -> str | None:
    """A file's path, relative to the folder of the configuration."""
    return None if file is None else str(folder / file)
