"""Identifiers of rows: UUIDs of version 7 (RFC 9562 5.7), which sort by the time at which they were made."""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

_FORM: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_SHARE: Final = 4096 / 1_000_000  # of a millisecond's nanoseconds in 12 bits


def uuid7() -> str:
    """A new identifier, in lower case with hyphens.

    48 bits of milliseconds since 1970, 12 bits of the fraction after them (RFC 9562 6.2, method 3), 62 random bits.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | int(rest * _SHARE) << 64
    value |= 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=value))


def is_id(text: str) -> bool:
    """Whether `uuid7` can have made `text`; anything else is not worth a question to the database."""
    return _FORM.fullmatch(text) is not None


def made_at(id: str) -> datetime:  # noqa: A002
    """When `uuid7` made `id`, to the millisecond."""
    return datetime.fromtimestamp((UUID(id).int >> 80) / 1000, UTC)


def first(moment: datetime) -> str:
    """What is not above any id that `uuid7` makes from `moment` on, to the millisecond; times before 1970 are 1970."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return str(UUID(int=(milliseconds & (1 << 48) - 1) << 80))


def now() -> datetime:
    """The present, with its time zone, UTC."""
    return datetime.now(UTC)
