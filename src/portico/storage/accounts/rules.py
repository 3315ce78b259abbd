"""What names, addresses, permissions and limits may be. Each answers the value as it is kept, or raises Invalid.

Names, permissions, networks and rates are those of the configuration (a test compares them). Its own rules are not
imported, since all of `portico.config` would come with them, into every services process.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from portico.errors import Invalid
from portico.storage.ids import is_id

LONGEST: Final = 200  # characters of a name
MOST: Final = 100  # permissions, networks or roles of one row
LARGEST: Final = 10**12  # of a count
PASSWORD_LEAST: Final = 10  # characters
PASSWORD_MOST: Final = 1024
PAGE: Final = 50
PAGE_MOST: Final = 500
NAME_PATTERN: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_PERMISSION: Final = re.compile(r"\*|(?:[A-Za-z0-9_.-]+|\*)(?::(?:[A-Za-z0-9_.-]+|\*)){1,2}", re.ASCII)
_RATE: Final = re.compile(r"[1-9][0-9]{0,8}/(?:second|minute|hour|day)", re.ASCII)
_EMAIL: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?", re.ASCII)


def text(field: str, value: Any, most: int = LONGEST) -> str:
    """Text for people: not empty, nothing that does not print (no NUL, no lone surrogate)."""
    kept = value.strip() if isinstance(value, str) else ""
    if not kept or len(kept) > most or not kept.isprintable():
        raise Invalid(field, f"must be text of 1 to {most} characters without control characters")
    return kept


def name(field: str, value: Any) -> str:
    """A name for machines: a tenant, a role."""
    if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value, re.ASCII):
        raise Invalid(field, "must be up to 64 letters, digits, '_', '-' and '.', not beginning with '-' or '.'")
    return value


def names(field: str, values: Iterable[Any]) -> list[str]:
    """Names without repetitions, in their order."""
    return _several(field, values, lambda value: name(field, value))


def permissions(values: Iterable[Any]) -> list[str]:
    """Permissions without repetitions."""
    return _several("permissions", values, _permission)


def networks(values: Iterable[Any]) -> list[str]:
    """Networks or addresses, in their normal form."""
    return _several("networks", values, _network)


def rate(field: str, value: Any) -> str:
    """A rate such as 600/minute, or ""."""
    if value and not (isinstance(value, str) and _RATE.fullmatch(value)):
        raise Invalid(field, "must be a rate such as 600/minute: a count, / and second, minute, hour or day")
    return str(value or "")


def quota(value: Any) -> str:
    """A quota: a count a day."""
    kept = rate("quota", value)
    if kept and not kept.endswith("/day"):
        raise Invalid("quota", "must be a count per day, such as 10000/day")
    return kept


def count(field: str, value: Any, default: int) -> int:
    """A whole number from 0; None is the default."""
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise Invalid(field, f"must be a whole number from 0 to {LARGEST}")
    return value


def email(value: Any) -> str:
    """An address in lower case. Only its form: that it reaches someone is another question."""
    kept = value.strip().lower() if isinstance(value, str) else ""
    if len(kept) > 254 or not _EMAIL.fullmatch(kept) or ".." in kept:
        raise Invalid("email", "must be an e-mail address such as ann@example.com")
    return kept


def password(value: Any) -> str:
    """A new password; lengths as NIST SP 800-63B has them, no rules about its characters."""
    if not isinstance(value, str) or not PASSWORD_LEAST <= len(value) <= PASSWORD_MOST or not encodable(value):
        raise Invalid("password", f"must have {PASSWORD_LEAST} to {PASSWORD_MOST} characters")
    return value


def moment(field: str, value: datetime | None, after: datetime) -> datetime | None:
    """A time to come, or None."""
    if value is None:
        return None
    if value.tzinfo is None or value <= after:
        raise Invalid(field, "must be a time to come, with its time zone")
    return value


def encodable(value: str) -> bool:
    """Whether it can be written as UTF-8: it has no lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def page(after: str | None, limit: int) -> int:
    """The rows of a page; `after` is the cursor that came with the page before."""
    if after is not None and not is_id(after):
        raise Invalid("cursor", "must be one that came with the page before")
    return max(1, min(limit, PAGE_MOST))


def _several(field: str, values: Iterable[Any], check: Callable[[Any], str]) -> list[str]:
    if isinstance(values, str):
        raise Invalid(field, "must be a list")
    kept = list(dict.fromkeys(check(value) for value in values))
    if len(kept) > MOST:
        raise Invalid(field, f"must be at most {MOST}")
    return kept


def _permission(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or not _PERMISSION.fullmatch(value):
        raise Invalid("permissions", "must be permissions such as users:read, users:read:42, users:* or *")
    return value


def _network(value: Any) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise Invalid("networks", "must be networks or addresses, such as 10.0.0.0/8 or 2001:db8::/32") from None
