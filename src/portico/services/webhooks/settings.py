"""`plugins.webhooks`: the plugin's own settings, checked by the supervisor."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from portico.config.base import Several, Strict
from portico.config.scalars import PositiveDuration

STEPS: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0)  # seconds from a failed attempt to the next
MOST_STEPS: Final = 10


class Settings(Strict):
    """When deliveries are tried again, and how long they are kept."""

    steps: Several[PositiveDuration] = Field(
        default_factory=lambda: list(STEPS),
        min_length=1,
        max_length=MOST_STEPS,
        description="Time from each failed attempt to the next",
    )
    keep: PositiveDuration = Field(default=30 * 86400.0, description="How long deliveries that have ended are kept")
