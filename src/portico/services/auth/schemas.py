"""What `auth` takes and answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from portico.services.values import Body, Email, GivenPassword, Label, Password, Secret
from portico.services.views import Moment, View

Kind = Literal["key", "person", "device"]


class Register(Body):
    """A wish for an API key. With `email` a person is registered too, who owns the key and can log in by `password`."""

    name: Label = Field(description="What the key is for")
    email: Email | None = None
    password: Password | None = Field(default=None, description="Needs `email`")
    invitation: Secret | None = Field(default=None, description="Needed where `registration` is `token`")


class ProfileChange(Body):
    """What people may change about themselves; what is left out stays. A new password ends their other sessions."""

    name: Label | None = None
    password: Password | None = Field(default=None, description="Needs `current_password`")
    current_password: GivenPassword | None = None


class Login(Body):
    """A person's credentials."""

    email: Email
    password: GivenPassword
    cookie: bool = Field(default=False, description="Answer with cookies, as for browsers, and show no token")


class Refresh(Body):
    """A refresh token; browsers have it in a cookie and send {}."""

    refresh_token: Secret | None = None


class Tokens(View):
    """Tokens of a session. Those that a browser has in its cookies are null here."""

    token_type: Literal["Bearer"] = "Bearer"
    access_token: str | None
    refresh_token: str | None = Field(description="Good for one refresh")
    expires_in: int = Field(description="Seconds that the access token is valid")
    refresh_expires_at: Moment
    session_id: str


class ProfileUsage(View):
    """What the caller had, as of a few seconds ago."""

    requests_today: int = Field(description="Since midnight, UTC")
    errors_today: int = Field(description="Of these, answered with 4xx or 5xx")
    requests_this_minute: int


class Profile(View):
    """The caller, whatever it is. What a kind of caller does not have is null."""

    kind: Kind
    id: str
    name: str
    tenant: str
    roles: list[str]
    permissions: list[str] = Field(description="All that the caller may do, that of its roles included")
    email: str | None = None
    created_at: Moment | None = None
    last_used_at: Moment | None = None
    expires_at: Moment | None = None
    is_active: bool = True
    rate_limit_per_minute: int | None = None
    rate_limit_per_day: int | None = None
    hint: str | None = Field(default=None, description="The key's first characters")
    usage: ProfileUsage


class SessionView(View):
    """A login of the caller."""

    id: str
    created_at: Moment
    used_at: Moment
    expires_at: Moment
    agent: str
    address: str
    current: bool = Field(description="Whether this request belongs to it")


class Jwks(View):
    """A key set (RFC 7517)."""

    keys: list[dict[str, str]]
