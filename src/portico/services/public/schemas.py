"""What `public` answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Dependency(BaseModel):
    """One dependency, as an operator may know it."""

    status: Literal["ok", "down", "unknown"]
    detail: str = Field(description="About now")
    latency_ms: float = Field(description="How long it took to answer")
    last_error: str | None = Field(description="What failed last, also when all is well again")


class Status(BaseModel):
    """The gateway's state, as anyone may know it."""

    status: Literal["ok", "degraded"] = Field(description="degraded: something in `dependencies` is not ok")
    version: str
    environment: Literal["demo", "production"]
    features: dict[str, bool] = Field(description="plugin id → whether it is on")
    layers: dict[str, Literal["available", "absent"]] = Field(description="layer → whether it has a path")
    dependencies: dict[str, str] = Field(description="ok, starting, down or unknown, of each part this gateway needs")


class DetailedStatus(Status):
    """The same as an operator may know it."""

    details: dict[str, Dependency] = Field(description="More on each dependency that a plugin reports")
