"""The service container."""

from __future__ import annotations

from typing import Protocol

import pytest

from portico.errors import ContainerError
from portico.kernel.container import ServiceContainer


class Store(Protocol):
    def size(self) -> int: ...


class Memory:
    def size(self) -> int:
        return 3


class Fancy(Memory):
    pass


def test_gives_back_what_was_provided_under_exactly_that_type() -> None:
    container = ServiceContainer()
    memory = Memory()
    container.provide(Store, memory)  # type: ignore[type-abstract]
    assert container.get(Store) is memory  # type: ignore[type-abstract]
    assert container.has(Store)
    assert not container.has(Memory)
    with pytest.raises(ContainerError, match=r"nothing provides Memory.*`requires`"):
        container.get(Memory)


def test_a_subclass_is_another_type() -> None:
    container = ServiceContainer()
    container.provide(Fancy, Fancy())
    with pytest.raises(ContainerError):
        container.get(Memory)


def test_providing_twice_is_an_error() -> None:
    container = ServiceContainer()
    container.provide(Memory, Memory())
    with pytest.raises(ContainerError, match="Memory has been provided already"):
        container.provide(Memory, Fancy())


def test_sealed_takes_nothing_more_and_still_gives() -> None:
    container = ServiceContainer()
    container.provide(Memory, Memory())
    container.seal()
    assert container.get(Memory).size() == 3
    with pytest.raises(ContainerError, match=r"Fancy came too late"):
        container.provide(Fancy, Fancy())
