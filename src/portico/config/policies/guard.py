"""`guard`: what goes to a language model, and what comes from it, is scanned on its way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field

from portico.config.base import Several, Strict
from portico.config.scalars import Parse, PositiveDuration, Ratio, Truth, choice, sizes
from portico.config.substitute import Finding
from portico.contracts import VALIDATE, Policy

CHAT: Final = "$.messages[*].content"
MIB: Final = 1024 * 1024
MOST_FIELDS: Final = 20
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]{0,63})|\[(\*|-?[0-9]{1,6})\]", re.ASCII)
_FIELD: Final = r"\$(?:\.[A-Za-z_][A-Za-z0-9_-]{0,63}|\[(?:\*|-?[0-9]{1,6})\]){0,32}"


def _field(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(_FIELD, value, re.ASCII):
        return value
    raise ValueError("must be a path such as $.messages[*].content: $, then .name, [*] or [number]")


def steps(field: str) -> list[str | int | None]:
    """The steps of a path: a name, a number, None for [*]."""
    found: list[str | int | None] = []
    for name, index in _STEP.findall(field):
        found.append(name or (None if index == "*" else int(index)))
    return found


FieldPath = Annotated[str, Parse(_field, {"type": "string", "pattern": f"^{_FIELD}$"}, text=True)]


class Guard(Strict):
    """`{detect: prompt_injection}` guards a chat: every message is scanned, and attacks are refused."""

    detect: Annotated[str, choice("prompt_injection")] = Field(description="What to look for: prompt_injection")
    fields: Several[FieldPath] = Field(
        default_factory=lambda: [CHAT],
        description="Where the text is in JSON bodies: $, .name, [*], [number]; $ is everything",
    )
    on: Annotated[str, choice("block", "flag")] = Field(
        default="block", description="block refuses what is malicious; flag passes it on and tells"
    )
    threshold: Ratio = Field(default=0.8, description="Confidence from which on a text is malicious")
    on_failure: Annotated[str, choice("closed", "open")] = Field(
        default="closed", description="What can't be scanned: closed refuses it, open passes it on and tells"
    )
    response: Truth = Field(default=False, description="Scan the answers too")
    max_bytes: Annotated[int, sizes(1024, "1KiB", 16 * MIB, "16MiB")] = Field(
        default=MIB,
        description="Largest body that is scanned; larger ones get 413",
        json_schema_extra={"default": "1MiB"},
    )
    timeout: PositiveDuration = Field(
        default=2.0, description="How long one scan may take", json_schema_extra={"default": "2s"}
    )

    def check(self) -> Iterator[Finding]:
        if not self.fields:
            yield ("fields",), "needs at least one path; $ is everything"
        if len(self.fields) > MOST_FIELDS:
            yield ("fields",), f"has more than {MOST_FIELDS} paths"
        if self.timeout > 30.0:
            yield ("timeout",), "must be at most 30s"

    def policy(self) -> Policy:
        """Its plain form has all keys; "paths" are the fields taken apart: a name, a number, null for [*]."""
        config = {
            "detect": self.detect,
            "fields": list(self.fields),
            "paths": [steps(field) for field in self.fields],
            "on": self.on,
            "threshold": self.threshold,
            "on_failure": self.on_failure,
            "response": self.response,
            "max_bytes": self.max_bytes,
            "timeout": self.timeout,
        }
        return Policy("guard", VALIDATE, 10, "portico.edge.policies.guard:build", config)
