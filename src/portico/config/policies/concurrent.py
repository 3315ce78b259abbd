"""`concurrent`: so many at a time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portico.config.policies.by import Limit
from portico.config.scalars import integer
from portico.contracts import Policy


class Concurrent(Limit):
    """`{concurrent: 50, by: client}`."""

    concurrent: Annotated[int, integer(1, 1_000_000)] = Field(description="Requests in flight at a time")

    def policy(self) -> Policy:
        """Its plain form: {"slots", "by", "name"}."""
        config = {"slots": self.concurrent, "by": self.by, "name": f"concurrent-{self.concurrent}"}
        return self.plain("concurrent", 40, config)
