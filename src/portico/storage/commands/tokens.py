"""`portico token …`: tokens for programs and for the operator, made without a password."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from portico.errors import CommandError
from portico.identity.jose import LARGEST
from portico.storage.accounts import rules
from portico.storage.accounts.people import People
from portico.storage.accounts.records import TENANT
from portico.storage.accounts.sessions import LONGEST, Sessions
from portico.storage.accounts.signing import EDDSA, SigningKeys
from portico.storage.commands.arguments import Arguments, answered
from portico.storage.ids import uuid7

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

LIFETIME: Final = 3600.0  # seconds


async def create(db: Database, vault: Vault, arguments: dict[str, Any]) -> dict[str, Any]:
    """roles, and optionally ttl, name, tenant, permissions; of the gateway's settings issuer, algorithm, known_roles.

    The token stands for a holder of its own (a person without an address), in a session of its own that ends when the
    token does: `portico people disable ID` ends it before. Answers token, id (of the holder), session, expires_at.
    """
    given = Arguments(arguments)
    roles, permissions = given.texts("roles"), given.texts("permissions")
    lifetime, name, tenant = given.seconds("ttl", LIFETIME), given.text("name", ""), given.text("tenant", TENANT)
    issuer, algorithm = given.text("issuer", "portico"), given.text("algorithm", EDDSA)
    check_roles(roles, given.texts("known_roles"))
    given.end()
    if not roles and not permissions:
        raise CommandError("roles are needed: a token without any may do nothing")
    if lifetime is None or not 1 <= lifetime <= LONGEST:
        raise CommandError("ttl must be from 1s to 366d")
    with answered():
        granted = rules.permissions(permissions)
        key = await SigningKeys(db, vault).current(algorithm)
        person = await People(db).create("", None, roles, tenant, name or "token")
        session, _ = await Sessions(db).begin(person, lifetime=lifetime, access=lifetime, agent="portico token create")
    claims = {
        "iss": issuer,
        "aud": issuer,
        "sub": person.id,
        "sid": session.id,
        "jti": uuid7(),
        "iat": int(time.time()),
        "exp": int(session.tokens_until.timestamp()),
        "roles": list(person.roles),
        "permissions": granted,
        "tenant": person.tenant,
    }
    expires = session.tokens_until.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"token": _signed(claims, key), "id": person.id, "session": session.id, "expires_at": expires}


def _signed(claims: dict[str, Any], key: dict[str, Any]) -> str:
    from portico.identity.tokens import issue

    token = issue(claims, key)
    if len(token) > LARGEST:
        raise CommandError("the token would be too long for a request: give it fewer permissions")
    return token


def check_roles(roles: tuple[str, ...], known: tuple[str, ...]) -> None:
    """A role that the gateway does not know would grant nothing; most likely it is a mistake in writing."""
    for role in roles:
        if known and role not in known:
            raise CommandError(f"{role!r} is no role; there are: {', '.join(sorted(known))}")


COMMANDS: Final = {"token.create": create}
