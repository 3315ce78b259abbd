"""One instance for each type, by which plugins of one process find one another."""

from __future__ import annotations

from typing import Any, TypeVar

from portico.errors import ContainerError

T = TypeVar("T")


class ServiceContainer:
    """Maps a type to its one instance. Filled while plugins initialize, sealed before they start."""

    def __init__(self) -> None:
        self._services: dict[type[Any], Any] = {}
        self._sealed = False

    def provide(self, kind: type[T], service: T) -> None:
        """Offer `service` under the type `kind`, which may be a Protocol or base that it satisfies.

        ContainerError when `kind` has been provided already, or the container is sealed.
        """
        if self._sealed:
            raise ContainerError(f"{kind.__qualname__} came too late: provide it in initialize, not in start")
        if kind in self._services:
            raise ContainerError(f"{kind.__qualname__} has been provided already")
        self._services[kind] = service

    def get(self, kind: type[T]) -> T:
        """The instance provided under exactly `kind`; ContainerError when there is none."""
        try:
            service: T = self._services[kind]
        except KeyError:
            raise ContainerError(
                f"nothing provides {kind.__qualname__}: the plugin that does must be in `requires`"
            ) from None
        return service

    def has(self, kind: type[Any]) -> bool:
        """Whether something has been provided under exactly `kind`."""
        return kind in self._services

    def seal(self) -> None:
        """From now on nothing can be provided."""
        self._sealed = True
