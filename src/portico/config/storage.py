"""`storage`, `backups`, `usage`, `audit`, `state`: where Portico keeps what must last, and what is shared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from portico import contracts
from portico.config.base import Strict
from portico.config.identity import Url
from portico.config.scalars import Duration, Parse, PositiveDuration, Text, integer, whole_days
from portico.config.substitute import Finding

_STORAGE: Final = re.compile(r"sqlite:///[^?#]+|postgres(?:ql)?://[^\s]+")
_STATE: Final = re.compile(r"memory://|(?:rediss?|unix)://[^\s]+")


def _storage(value: Any) -> str:
    if not isinstance(value, str) or not _STORAGE.fullmatch(value):
        raise ValueError("must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE")
    return value


def _state(value: Any) -> str:
    if not isinstance(value, str) or not _STATE.fullmatch(value):
        raise ValueError("must be memory:// or redis://HOST:PORT/NUMBER")
    return value


class Storage(Strict):
    """The database."""

    url: Annotated[str, Parse(_storage, {"type": "string"}, text=True)] = Field(
        default="sqlite:///portico.db",
        description="sqlite:///FILE, encrypted, inside data_dir when relative; or postgresql://…",
    )

    def plain(self) -> contracts.Storage:
        return contracts.Storage(self.url)


class Backups(Strict):
    """Encrypted copies of the database, made by the clock and verified by restoring."""

    every: Duration = Field(
        default=0.0, description="Time between two backups; 0s: none", json_schema_extra={"default": "0s"}
    )
    keep: Annotated[int, integer(1, 10_000)] = Field(default=7, description="How many are kept, the newest")
    to: Text | None = Field(default=None, description="Folder of the backups; data_dir/backups when left out")

    def plain(self, folder: Path) -> contracts.Backups:
        return contracts.Backups(self.every, self.keep, str(folder / self.to) if self.to else "")


class Usage(Strict):
    """How long what is counted of requests is kept."""

    minutes: Annotated[float, whole_days(1, 366)] = Field(
        default=7 * 86400.0, description="By the minute", json_schema_extra={"default": "7d"}
    )
    hours: Annotated[float, whole_days(1, 3660)] = Field(
        default=90 * 86400.0, description="By the hour", json_schema_extra={"default": "90d"}
    )
    days: Annotated[float, whole_days(1, 36600)] = Field(
        default=1826 * 86400.0, description="By the day", json_schema_extra={"default": "1826d"}
    )
    recent: Annotated[int, integer(0, 1_000_000)] = Field(
        default=10_000, description="How many requests are kept in detail, the newest"
    )

    def check(self) -> Iterator[Finding]:
        for finer, coarser in (("minutes", "hours"), ("hours", "days")):
            if getattr(self, finer) > getattr(self, coarser):
                yield (finer,), f"must not be longer than `{coarser}`, of which they are made"

    def plain(self) -> contracts.Usage:
        return contracts.Usage(self.minutes, self.hours, self.days, self.recent)


class Audit(Strict):
    """The audit trail: how long it is kept, and where else the heads of its chains go."""

    keep: Duration = Field(
        default=365 * 86400.0,
        description="How long records are kept; 0s: for ever",
        json_schema_extra={"default": "365d"},
    )
    heads_url: Url | None = Field(default=None, description="Where the heads of chains are sent to, by POST")

    def plain(self) -> contracts.Audit:
        return contracts.Audit(self.keep, self.heads_url or "")


class State(Strict):
    """What processes share: memory of one process, or Redis."""

    url: Annotated[str, Parse(_state, {"type": "string"}, text=True)] = Field(
        default="memory://", description="memory:// or redis://HOST:PORT/NUMBER"
    )
    wait: PositiveDuration = Field(
        default=0.05,
        description="Longest time that a request waits for the store",
        json_schema_extra={"default": "50ms"},
    )

    def plain(self) -> contracts.State:
        return contracts.State(self.url, self.wait)
