"""`quota`: so many in one UTC day."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from portico.config import units
from portico.config.policies.cost import CostedLimit
from portico.config.scalars import Parse
from portico.contracts import Policy


def _daily(value: Any) -> int:
    try:
        count, unit = units.rate(value)
    except ValueError:
        unit = ""
    if unit != "day":
        raise ValueError("must be a count for each UTC day, such as 10000/day; `window` has other spans")
    return count


class Quota(CostedLimit):
    """`{quota: 10000/day, by: key}`."""

    quota: Annotated[int, Parse(_daily, {"type": "string", "pattern": "^[1-9][0-9]{0,8}/day$"})] = Field(
        description="Requests in a UTC day"
    )

    def limited(self) -> int:
        return self.quota

    def policy(self) -> Policy:
        """Its plain form: {"count", "by", "name"}, and "cost" where it counts costs."""
        return self.costed("quota", 30, {"count": self.quota, "by": self.by, "name": f"{self.quota}/day"})
