"""How keys and people look to callers of several services, and how keys are replaced. Times are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from portico.services.values import Body
from portico.storage.accounts.records import KeyRecord, Person

Item = TypeVar("Item")


def moment(value: datetime) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(moment, return_type=Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]),
]


class View(BaseModel):
    """What a service answers."""

    model_config = ConfigDict(frozen=True)


class Page(View, Generic[Item]):
    """Some items of a list, in its order."""

    items: list[Item]
    next_cursor: str | None = Field(description="`after` for the next page; null: this was the last")


class KeyView(View):
    """An API key, without the key. A limit that is 0 or empty is none."""

    id: str
    name: str
    owner: str | None = Field(description="Id of a person")
    tenant: str
    permissions: list[str]
    rate_limit_per_minute: int
    rate_limit_per_day: int
    window: str
    rate: str
    burst: int
    quota: str
    networks: list[str]
    created_at: Moment
    last_used_at: Moment | None
    expires_at: Moment | None = Field(description="Of a rotated key: the end of its grace")
    is_active: bool = Field(description="Neither revoked nor expired")
    hint: str = Field(description="The key's first characters")
    replaces: str | None = Field(description="Id of the key whose successor this is")


class IssuedKey(KeyView):
    """A key that was just issued: the only time that it is shown."""

    key: str = Field(description="The key itself. Keep it: it can't be shown again")


class Rotate(Body):
    """How to replace a key."""

    grace_seconds: int = Field(
        default=0, ge=0, le=30 * 86400, description="How long the old key works beside the new one"
    )


class Rotated(IssuedKey):
    """The new key, and until when the old one works."""

    old_key_expires_at: Moment


class PersonView(View):
    """A person."""

    id: str
    email: str | None
    name: str
    roles: list[str]
    tenant: str
    disabled: bool
    has_password: bool
    created_at: Moment


def key_view(record: KeyRecord) -> KeyView:
    """The view of a key."""
    return KeyView(**_key(record))


def issued(record: KeyRecord, key: str) -> IssuedKey:
    """The view of a new key, with the key."""
    return IssuedKey(**_key(record), key=key)


def person_view(person: Person) -> PersonView:
    """The view of a person."""
    return PersonView(
        id=person.id,
        email=person.email or None,
        name=person.name,
        roles=list(person.roles),
        tenant=person.tenant,
        disabled=person.disabled,
        has_password=person.has_password,
        created_at=person.created_at,
    )


def _key(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "owner": record.owner or None,
        "tenant": record.tenant,
        "permissions": list(record.permissions),
        "rate_limit_per_minute": record.per_minute,
        "rate_limit_per_day": record.per_day,
        "window": record.window,
        "rate": record.rate,
        "burst": record.burst,
        "quota": record.quota,
        "networks": list(record.networks),
        "created_at": record.created_at,
        "last_used_at": record.last_used_at,
        "expires_at": record.expires_at,
        "is_active": record.is_active,
        "hint": record.hint,
        "replaces": record.replaces,
    }
