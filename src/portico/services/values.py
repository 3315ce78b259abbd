"""The kinds of values that several services take. Patterns and formats in the schema say exactly what is taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from portico.errors import Invalid
from portico.storage.accounts import rules

UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_PART: Final = r"([A-Za-z0-9_.-]+|\*)"


def _rule(check: Callable[[Any], str]) -> AfterValidator:
    """The repositories' own rule, told as the schema's errors are."""

    def checked(value: str) -> str:
        try:
            return check(value)
        except Invalid as error:
            raise ValueError(str(error)) from None

    return AfterValidator(checked)


_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _instant(value: Any) -> datetime:
    """A moment as RFC 3339 5.6 writes it; a `+` that a URL has made a blank is told."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("must be a moment such as 2026-01-31T12:00:00Z (in a URL, + is written %2B)")
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError("is a moment that no calendar or clock has") from None


Label = Annotated[
    str,
    _rule(lambda value: rules.text("name", value)),
    Field(min_length=1, max_length=rules.LONGEST, json_schema_extra={"format": "text-line"}),
]
Email = Annotated[str, _rule(rules.email), Field(max_length=254, json_schema_extra={"format": "email"})]
Password = Annotated[str, Field(pattern=r"^[^\x00]+$", min_length=rules.PASSWORD_LEAST, max_length=rules.PASSWORD_MOST)]
GivenPassword = Annotated[str, Field(pattern=r"^[^\x00]+$", min_length=1, max_length=rules.PASSWORD_MOST)]
Name = Annotated[str, Field(pattern=rf"^{rules.NAME_PATTERN}$")]
Permission = Annotated[str, Field(pattern=rf"^(\*|{_PART}(:{_PART}){{1,2}})$", max_length=200)]
Network = Annotated[
    str,
    _rule(lambda value: rules.networks([value])[0]),
    Field(max_length=64, description="An address, or a network as CIDR", json_schema_extra={"format": "network"}),
]
Pace = Annotated[
    str, Field(pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$", description="A count, /, and a unit of time")
]
Daily = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}/day$", description="A count a day")]
Secret = Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", max_length=512)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]

Id = Annotated[str, Path(alias="id", pattern=f"^{UUID}$", description="A UUID, as lists show it")]
Limit = Annotated[int, Query(ge=1, le=200, description="At most so many items")]
Cursor = Annotated[
    str | None, Query(pattern=f"^{UUID}$", description="`next_cursor` of the page before; none: the first page")
]
Tenant = Annotated[
    str | None, Query(pattern=rf"^{rules.NAME_PATTERN}$", description="Another tenant, where the caller may act for it")
]
Instant = Annotated[datetime, BeforeValidator(_instant)]  # of a query


class Body(BaseModel):
    """What a client sends: unknown names are refused, and values are taken as they are, never converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
