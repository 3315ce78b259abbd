"""`cors`: what browsers on other origins may do (the Fetch standard's CORS protocol)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field

from portico.config.base import Several, Strict
from portico.config.grammar import FieldName, Method
from portico.config.scalars import Duration, Parse, Truth
from portico.config.substitute import Finding
from portico.contracts import ADMIT, Policy

_ORIGIN: Final = re.compile(
    r"\*|[a-z][a-z0-9+.-]*://(?:(?:\*\.)?[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII
)


def _origin(value: Any) -> str:
    if not isinstance(value, str) or not _ORIGIN.fullmatch(value):
        raise ValueError('must be "*" or an origin such as https://app.example.com or https://*.example.com, no path')
    return value.lower()


Origin = Annotated[str, Parse(_origin, {"type": "string", "pattern": r"^(\*|[a-z][a-z0-9+.-]*://[^/\s]+)$"}, text=True)]


class Cors(Strict):
    """Preflights are answered before authentication; other origins get no permission to read."""

    origins: Several[Origin] = Field(description='Origins let in: "*", exact ones, or https://*.example.com')
    methods: Several[Method] = Field(
        default_factory=lambda: ["GET", "HEAD", "POST"], description='Methods they may use; "*": any'
    )
    headers: Several[FieldName] = Field(default_factory=list, description='Request fields they may send; "*": any')
    credentials: Truth = Field(default=False, description="Whether they may send cookies and credentials")
    max_age: Duration = Field(
        default=600.0, description="How long a browser may remember a preflight", json_schema_extra={"default": "10m"}
    )

    def check(self) -> Iterator[Finding]:
        if not self.origins:
            yield ("origins",), "needs at least one origin; leave cors out to have none"
        for name in ("origins", "methods", "headers"):
            if self.credentials and "*" in getattr(self, name):
                yield (name,), 'has "*" together with credentials: true; name them one by one'

    def policy(self) -> Policy:
        """Its plain form: {"origins", "methods", "headers", "credentials", "max_age"}; max_age in whole seconds."""
        config = {
            "origins": list(self.origins),
            "methods": list(self.methods),
            "headers": list(self.headers),
            "credentials": self.credentials,
            "max_age": int(self.max_age),
        }
        return Policy("cors", ADMIT, 20, "portico.edge.policies.cors:build", config)
