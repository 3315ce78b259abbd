"""`window`: never more than so many in any such span."""

from __future__ import annotations

from pydantic import Field

from portico.config import scalars, units
from portico.config.policies.cost import CostedLimit
from portico.contracts import Policy


class Window(CostedLimit):
    """`{window: 100/minute, by: key}`."""

    window: scalars.Rate = Field(description="Requests in any second, minute, hour or day (sliding)")

    def limited(self) -> int:
        return self.window[0]

    def policy(self) -> Policy:
        """Its plain form: {"count", "seconds", "by", "name"}, and "cost" where it counts costs."""
        count, unit = self.window
        config = {"count": count, "seconds": units.SECONDS[unit], "by": self.by, "name": f"{count}/{unit}"}
        return self.costed("window", 20, config)
