"""`rate`: a steady rate with a burst (GCRA): at most burst + rate × T in any span T."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portico.config import scalars, units
from portico.config.policies.by import Limit
from portico.contracts import Policy


class Rate(Limit):
    """`{rate: 600/minute, burst: 60, by: key}`."""

    rate: scalars.Rate = Field(description="Requests per second, minute, hour or day")
    burst: Annotated[int, scalars.integer(1, 10**9)] | None = Field(
        default=None, description="Requests that may come at once; a tenth of the rate's count when left out"
    )

    def policy(self) -> Policy:
        """Its plain form: {"tokens", "seconds", "burst", "by", "name"}."""
        tokens, unit = self.rate
        burst = self.burst if self.burst is not None else max(1, tokens // 10)
        config = {"tokens": tokens, "seconds": units.SECONDS[unit], "burst": burst}
        return self.plain("rate", 10, {**config, "by": self.by, "name": f"{tokens}/{unit}"})
