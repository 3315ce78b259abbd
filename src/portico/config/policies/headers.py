"""`headers`: fields set, added and removed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from portico.config.base import Named, Several, Strict
from portico.config.grammar import FRAMING, HOP_BY_HOP, RESERVED_PREFIX, FieldName, FieldValue
from portico.config.substitute import Finding
from portico.contracts import TRANSFORM, Policy

OWN: Final = frozenset(("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"))


class Edits(Strict):
    """Changes to one message's fields, in this order: remove, set (replaces every such field), add (one more)."""

    set: Named[FieldName, FieldValue] = Field(default_factory=dict, description="Fields to replace or create")
    add: Named[FieldName, FieldValue] = Field(default_factory=dict, description="Fields to append")
    remove: Several[FieldName] = Field(default_factory=list, description="Fields to drop")

    def check(self) -> Iterator[Finding]:
        for key, names in (("set", self.set), ("add", self.add)):
            seen: dict[str, str] = {}
            for name in names:
                yield from ((((key, name), message)) for message in _wrong(name))
                if seen.setdefault(name.lower(), name) != name:
                    yield (key, name), "is given twice: header names are the same in capitals and small letters"
        for index, name in enumerate(self.remove):
            yield from ((("remove", index), message) for message in _wrong(name))

    def plain(self) -> dict[str, object]:
        return {"set": dict(self.set), "add": dict(self.add), "remove": list(self.remove)}

    def empty(self) -> bool:
        return not (self.set or self.add or self.remove)


class Headers(Strict):
    """Edits to what goes upstream and to what comes back."""

    request: Edits = Field(default_factory=Edits, description="On the way to the upstream")
    response: Edits = Field(default_factory=Edits, description="On the way back to the client")

    def policy(self) -> Policy | None:
        """Its plain form: {"request": {"set": {}, "add": {}, "remove": []}, "response": the same}."""
        if self.request.empty() and self.response.empty():
            return None
        config = {"request": self.request.plain(), "response": self.response.plain()}
        return Policy("headers", TRANSFORM, 10, "portico.edge.policies.headers:build", config)


def _wrong(name: str) -> Iterator[str]:
    lower = name.lower()
    if lower in FRAMING:
        yield "is about framing and routing, which is always Portico's own; it can't be changed here"
    elif lower in HOP_BY_HOP:
        yield "is a hop-by-hop field, which is never passed on; it can't be changed here"
    elif lower in OWN:
        yield "is written by Portico itself on every message; it can't be changed here"
    elif lower.startswith(RESERVED_PREFIX):
        yield "begins with X-Portico-, which is kept for Portico itself"
