"""What `admin` takes and answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from portico.services.values import UUID, Body, Count, Daily, Email, Label, Name, Network, Pace, Password, Permission
from portico.services.views import Moment, View

YEARS = 10 * 366 * 86400
Permissions = Annotated[list[Permission], Field(max_length=100)]
Roles = Annotated[list[Name], Field(max_length=100)]
TenantName = Annotated[Name | None, Field(description="Another tenant, where the caller may act for it")]


class NewKey(Body):
    """A key to be issued. `window` or `rate` replace the limit per minute, `quota` that per day; 0 is no limit."""

    name: Label
    owner: Annotated[str, Field(pattern=f"^{UUID}$", description="Id of a person")] | None = None
    tenant: TenantName = None
    permissions: Permissions = Field(default=[])
    rate_limit_per_minute: Count | None = Field(default=None, description="60 when left out; a window")
    rate_limit_per_day: Count | None = Field(default=None, description="10000 when left out")
    window: Pace | None = None
    rate: Pace | None = None
    burst: Count | None = Field(default=None, description="Goes with `rate`")
    quota: Daily | None = None
    networks: Annotated[list[Network], Field(max_length=100)] = Field(
        default=[], description="Where the key may be used from; none: anywhere"
    )
    expires_in: Annotated[int, Field(ge=1, le=YEARS)] | None = Field(default=None, description="Seconds; none: never")


class NewPerson(Body):
    """A person to be known."""

    email: Email
    name: Label | None = Field(default=None, description="The e-mail address when left out")
    password: Password | None = Field(default=None, description="None: the person can't log in yet")
    roles: Roles = Field(default=["user"])
    tenant: TenantName = None


class PersonChange(Body):
    """What is to be different; what is left out stays."""

    name: Label | None = None
    roles: Roles | None = None
    disabled: bool | None = None
    password: Password | None = None


class NewInvitation(Body):
    """Leave for somebody to register once."""

    email: Email | None = Field(default=None, description="Only this address may use it; none: anyone who has it")
    roles: Roles = Field(default=["user"])
    permissions: Permissions = Field(default=[], description="Of the key that will be registered")
    tenant: TenantName = None
    expires_in: int = Field(default=7 * 86400, ge=60, le=90 * 86400, description="Seconds")


class Invitation(View):
    """An invitation that was just made: the only time that its token is shown."""

    id: str
    token: str
    email: str | None
    roles: list[str]
    permissions: list[str]
    tenant: str
    expires_at: Moment
