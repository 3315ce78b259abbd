"""`auth`: which credentials a caller has to show."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from portico.config.base import Strict
from portico.config.scalars import Parse, nearest
from portico.config.substitute import Substituted
from portico.contracts import AUTHENTICATE, Policy

KINDS: Final = ("api_key",)
HEADER: Final = "x-api-key"


def _auth(value: Any) -> tuple[str, ...]:
    if value == "none":
        return ()
    kinds = " or ".join(KINDS)
    if not isinstance(value, list):
        raise ValueError(f"must be none, or a list of {kinds}, such as [{KINDS[0]}]")
    for kind in value:
        if kind not in KINDS:
            text = str(kind) if not isinstance(kind, Substituted) else ""
            raise ValueError(f"must be none, or a list of {kinds}" + nearest(text, KINDS))
    if not value or len(set(value)) != len(value):
        raise ValueError(f"must be none, or a list that names each of {kinds} at most once and is not empty")
    return tuple(str(kind) for kind in value)


_SCHEMA: Final = {
    "anyOf": [
        {"const": "none"},
        {"type": "array", "items": {"enum": list(KINDS)}, "minItems": 1, "uniqueItems": True},
    ]
}


class Auth(Strict):
    """`none`, or a list of which any one will do."""

    auth: Annotated[tuple[str, ...], Parse(_auth, _SCHEMA, text=True)] = Field(
        default=(),
        description="none, or [api_key]: a key in X-API-Key or as Bearer",
        json_schema_extra={"default": "none"},
    )


def policy() -> Policy:
    """The step that asks for an API key. Its plain form: {"header": name in lower case}."""
    return Policy("api_key", AUTHENTICATE, 10, "portico.edge.policies.api_key:build", {"header": HEADER})
