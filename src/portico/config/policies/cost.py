"""`cost`: what a limit counts for a request instead of 1. It is estimated first, and settled when the answer tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from portico.config.base import Strict
from portico.config.grammar import TOKEN
from portico.config.policies.by import Limit
from portico.config.scalars import Parse, integer
from portico.config.substitute import Finding, Substituted
from portico.contracts import Policy

MOST: Final = 1_000_000


def _source(value: Any) -> str:
    if isinstance(value, str) and (value == "tokens" or re.fullmatch("header:" + TOKEN + "{1,256}", value, re.ASCII)):
        return value.lower()
    raise ValueError("must be tokens or header:NAME")


def _spelled_out(value: Any) -> Any:
    return {"from": value} if isinstance(value, str | Substituted) else value


Source = Annotated[str, Parse(_source, {"type": "string", "pattern": r"^(tokens|[Hh]eader:\S+)$"}, text=True)]


class Cost(Strict):
    """`{from: tokens, estimate: 500}`."""

    source: Source = Field(
        alias="from", description="tokens: `usage.total_tokens` of the answer; header:NAME: a number in its head"
    )
    estimate: Annotated[int, integer(1, 10**9)] = Field(
        default=1, description="Reserved when the request comes; stands where the answer does not tell"
    )
    most: Annotated[int, integer(1, 10**9)] = Field(
        default=MOST, description="Counted for one request, whatever its answer says"
    )

    def check(self) -> Iterator[Finding]:
        if self.estimate > self.most:
            yield ("estimate",), f"is more than the {self.most} (`most`) that one request may cost"

    def plain(self) -> dict[str, Any]:
        """{"from", "estimate", "most"}."""
        return {"from": self.source, "estimate": self.estimate, "most": self.most}


AnyCost = Annotated[Cost, BeforeValidator(_spelled_out, json_schema_input_type=Source | Cost)]


class CostedLimit(Limit):
    """A limit that may count costs."""

    cost: AnyCost | None = Field(
        default=None, description="tokens, header:NAME or {from, estimate, most}; null: a request counts 1"
    )

    def limited(self) -> int:
        """How much there is at once."""
        raise NotImplementedError

    def check(self) -> Iterator[Finding]:
        if self.cost is not None and self.cost.estimate > self.limited():
            yield ("cost", "estimate"), f"is more than the limit ever has: {self.limited()}"

    def costed(self, kind: str, order: int, config: dict[str, Any]) -> Policy:
        """The policy; a limit of costs has another name than one of requests, for they count apart."""
        if self.cost is not None:
            what = self.cost.source.removeprefix("header:")
            config = {**config, "name": f"{config['name']} {what}", "cost": self.cost.plain()}
        return self.plain(kind, order, config)
