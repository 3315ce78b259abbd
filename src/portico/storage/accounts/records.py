"""What the repositories take and answer: plain values. Times are aware and in UTC, durations in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

TENANT = "default"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be issued.

    Limits: `window` ("60/minute") or `rate` ("600/minute", with `burst`) replace the default of `per_minute` (60, a
    window), `quota` ("10000/day") that of `per_day` (10,000). None is the default, 0 none.
    """

    name: str
    owner: str = ""  # id of a person
    tenant: str = TENANT
    permissions: tuple[str, ...] = ()
    per_minute: int | None = None
    per_day: int | None = None
    window: str = ""
    rate: str = ""
    burst: int = 0
    quota: str = ""
    networks: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key, without the key. Limits that are 0 or "" are none."""

    id: str
    name: str
    owner: str  # id of a person, or ""
    tenant: str
    permissions: tuple[str, ...]
    per_minute: int
    per_day: int
    window: str
    rate: str
    burst: int
    quota: str
    networks: tuple[str, ...]
    expires_at: datetime | None  # of a rotated key: the end of its grace
    created_at: datetime
    last_used_at: datetime | None
    is_active: bool  # neither revoked nor expired when it was read
    sha256: bytes = field(repr=False)
    hint: str  # the first 10 characters, for people
    replaces: str | None  # the id of the key of which it is the successor
    family: str  # the id of the first key of the line; limits count all of it together


@dataclass(frozen=True, slots=True)
class Person:
    """A person; without `email`, a holder of tokens made by the operator."""

    id: str
    email: str  # lower case, or ""
    name: str
    roles: tuple[str, ...]
    tenant: str
    disabled: bool
    has_password: bool
    created_at: datetime
    tokens_from: datetime | None  # access tokens made before it are void
    mark: bytes = field(repr=False, compare=False)  # another one with every new password


@dataclass(frozen=True, slots=True)
class Session:
    """A login. An access token made in it must not outlive `tokens_until`."""

    id: str
    person: str
    tenant: str
    agent: str
    address: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    tokens_until: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """Leave to register once."""

    id: str
    tenant: str
    email: str  # "" for anyone's
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
