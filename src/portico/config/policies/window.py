"""`window`: never more than so many in any such span."""

from __future__ import annotations

from pydantic import Field

from portico.config import scalars, units
from portico.config.policies.by import Limit
from portico.contracts import Policy


class Window(Limit):
    """`{window: 100/minute, by: key}`."""

    window: scalars.Rate = Field(description="Requests in any second, minute, hour or day (sliding)")

    def policy(self) -> Policy:
        """Its plain form: {"count", "seconds", "by", "name"}."""
        count, unit = self.window
        config = {"count": count, "seconds": units.SECONDS[unit], "by": self.by, "name": f"{count}/{unit}"}
        return self.plain("window", 20, config)
