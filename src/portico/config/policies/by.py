"""`by`: what a limit counts separately for, and what the four kinds of limits share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field

from portico.config.base import Strict
from portico.config.grammar import TOKEN
from portico.config.scalars import Parse
from portico.contracts import LIMIT, Policy

KNOWN_CALLER: Final = frozenset({"key", "tenant", "principal"})
MODES: Final = ("closed", "open", "share")
_WORDS: Final = ("key", "client", "route", "tenant", "principal")


def _by(value: Any) -> str:
    if isinstance(value, str):
        if value in _WORDS:
            return value
        if re.fullmatch("header:" + TOKEN + "{1,256}", value, re.ASCII):
            return value.lower()
    raise ValueError("must be key, client, route, tenant, principal or header:NAME")


By = Annotated[
    str, Parse(_by, {"type": "string", "pattern": r"^(key|client|route|tenant|principal|header:\S+)$"}, text=True)
]


def _failure(value: Any) -> str:
    if value not in MODES:
        raise ValueError("must be closed, open or share")
    return str(value)


class Limit(Strict):
    """What a limit counts by; one shared count for requests that lack the header of `header:NAME`."""

    by: By = Field(
        default="client", description="Counted for each: key, client (address), route, tenant, principal, header:NAME"
    )

    on_store_failure: Annotated[str, Parse(_failure, {"enum": list(MODES)}, text=True)] = Field(
        default="share",
        description="While the shared state is away: closed refuses, open lets everything through, share divides the "
        "limit by the workers",
    )

    def policy(self) -> Policy:
        """Its plain form; `name` is what clients and metrics see it called."""
        raise NotImplementedError

    def plain(self, kind: str, order: int, config: dict[str, Any]) -> Policy:
        """The policy with what all kinds have; what is as usual is left out."""
        if self.on_store_failure != "share":
            config = {**config, "on_store_failure": self.on_store_failure}
        return limit_policy(kind, order, config)

    def needs_caller(self) -> bool:
        """Whether it counts by something that only authentication finds out."""
        return self.by in KNOWN_CALLER


def limit_policy(kind: str, order: int, config: dict[str, Any]) -> Policy:
    """A step of the LIMIT phase whose behaviour is `portico.edge.policies.KIND`."""
    return Policy(kind, LIMIT, order, f"portico.edge.policies.{kind}:build", config)


def repeated(limits: list[Limit]) -> Iterator[tuple[int, int]]:
    """Limits of one list that could not be told apart: the index of the later, and of the first."""
    seen: dict[tuple[str, Any, str], int] = {}
    for index, limit in enumerate(limits):
        policy = limit.policy()
        first = seen.setdefault((policy.id, policy.config["name"], limit.by), index)
        if first != index:
            yield index, first
