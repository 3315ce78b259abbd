"""Roles → permissions: what a name of a role stands for in the configuration of now."""

from __future__ import annotations

from collections.abc import Iterable

from portico.contracts import Role


class Roles:
    """The roles of one snapshot."""

    def __init__(self, roles: tuple[Role, ...]) -> None:
        self._permissions = {role.name: role.permissions for role in roles}

    def permissions(self, names: Iterable[str]) -> tuple[str, ...]:
        """What the roles called `names` grant together, each once; a name that is no role grants nothing."""
        granted: dict[str, None] = {}
        for name in names:
            granted.update(dict.fromkeys(self._permissions.get(name, ())))
        return tuple(granted)

    def granting(self, names: Iterable[str], permission: str) -> str:
        """The first of the roles `names` that lists exactly `permission`; "" when none does."""
        return next((name for name in names if permission in self._permissions.get(name, ())), "")
