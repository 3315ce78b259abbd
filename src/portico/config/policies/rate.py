"""`rate`: a steady rate with a burst (GCRA): at most burst + rate × T in any span T."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portico.config import scalars, units
from portico.config.policies.cost import CostedLimit
from portico.contracts import Policy


class Rate(CostedLimit):
    """`{rate: 600/minute, burst: 60, by: key}`."""

    rate: scalars.Rate = Field(description="Requests per second, minute, hour or day")
    burst: Annotated[int, scalars.integer(1, 10**9)] | None = Field(
        default=None, description="Requests that may come at once; a tenth of the rate's count when left out"
    )

    def limited(self) -> int:
        return self.burst if self.burst is not None else max(1, self.rate[0] // 10)

    def policy(self) -> Policy:
        """Its plain form: {"tokens", "seconds", "burst", "by", "name"}, and "cost" where it counts costs."""
        tokens, unit = self.rate
        config = {"tokens": tokens, "seconds": units.SECONDS[unit], "burst": self.limited()}
        return self.costed("rate", 10, {**config, "by": self.by, "name": f"{tokens}/{unit}"})
