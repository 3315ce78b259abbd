"""Configuration models for the tests of the conformance suite; loads Pydantic, as only the supervisor may."""

from pydantic import BaseModel, ConfigDict


class Lax(BaseModel):
    size: int = 1


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = 1
