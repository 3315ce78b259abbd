"""`require`: the permissions that a caller must have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from portico.config import grammar
from portico.config.base import Several, Strict
from portico.config.scalars import Parse
from portico.contracts import AUTHORIZE, Policy


def _needed(value: Any) -> str:
    if "*" in grammar.permission(value):
        raise ValueError("must be one permission without *, such as users:read; keys may have users:*")
    return str(value)


Needed = Annotated[str, Parse(_needed, {"type": "string", "pattern": r"^[^*:\s]+(:[^*:\s]+){1,2}$"}, text=True)]


class Require(Strict):
    """All of the permissions are needed."""

    require: Several[Needed] = Field(default_factory=list, description="Permissions that the caller needs, all of them")


def policy(permissions: Sequence[str]) -> Policy:
    """The step that demands permissions. Its plain form: {"permissions": [text]}."""
    config = {"permissions": list(dict.fromkeys(permissions))}
    return Policy("require", AUTHORIZE, 10, "portico.edge.policies.require:build", config)
