"""`auth`: which credentials a caller has to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from portico.config.base import Strict
from portico.config.policies import key_limits
from portico.config.scalars import Parse, nearest
from portico.config.substitute import Substituted
from portico.contracts import AUTHENTICATE, Policy

KINDS: Final = ("api_key", "jwt", "certificate")


def _auth(value: Any) -> tuple[str, ...]:
    if value == "none":
        return ()
    kinds = " or ".join([", ".join(KINDS[:-1]), KINDS[-1]])
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
        description="none, or any of api_key, jwt and certificate: one of them has to be shown",
        json_schema_extra={"default": "none"},
    )


def policies(kinds: Sequence[str]) -> list[Policy]:
    """The step that asks for credentials, and the one for the limits of keys where keys are taken.

    Its plain form: {"kinds": [any of KINDS, in their order]}.
    """
    config = {"kinds": [kind for kind in KINDS if kind in kinds]}
    asked = Policy("auth", AUTHENTICATE, 10, "portico.edge.policies.auth:build", config)
    return [asked, key_limits.policy()] if "api_key" in kinds else [asked]
