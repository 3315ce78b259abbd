"""What people do: log in, stay logged in, log out, look after their sessions and their profile."""

from __future__ import annotations

import time
from typing import Final
from uuid import uuid4

from portico.errors import Missing
from portico.identity import tokens
from portico.identity.principal import Principal
from portico.services.auth.parts import Parts
from portico.services.auth.schemas import Kind, Profile, ProfileChange, ProfileUsage, SessionView
from portico.services.problems import Refused
from portico.storage.accounts import Person, Session
from portico.storage.tables.usage import DAY, MINUTE
from portico.storage.usage.records import total

WRITING: Final = 5  # seconds that a change to a person takes at most, as a rule far less
KNOWN: Final = 200  # sessions of a person that are looked at for the address
KINDS: Final[dict[str, Kind]] = {"key": "key", "device": "device"}


async def login(parts: Parts, email: str, password: str, address: str, agent: str) -> tuple[Session, str]:
    """A new session and its refresh token. Who guesses waits; see `Attempts`."""
    person = await _proved(parts, email, password, address)
    if person is None:
        raise _wrong(await parts.people.by_email(email))
    lifetime = parts.identity.tokens
    try:
        return await parts.sessions.begin(
            person, lifetime=lifetime.refresh, access=lifetime.access, agent=agent, address=address
        )
    except Missing:  # disabled, or given another password, while this one was being checked
        raise _wrong(person) from None


def _wrong(claimed: Person | None) -> Refused:
    about = None if claimed is None else (claimed.id, claimed.tenant)
    return Refused(401, "credentials_wrong", "the e-mail address or the password is wrong", "check both", about=about)


async def _proved(parts: Parts, email: str, password: str, address: str) -> Person | None:
    async def known() -> bool:
        person = await parts.people.by_email(email)
        sessions, _ = await parts.sessions.list(person.id if person is not None else "", limit=KNOWN)
        return any(session.address == address for session in sessions)

    account = email.lower()
    wait = await parts.logins.wait(account, address, known)
    if wait:
        detail = "too many attempts to log in"
        raise Refused(429, "too_many_attempts", detail, headers={"Retry-After": str(wait)})
    person = await parts.people.verify_password(email, password)
    if person is not None:
        await parts.logins.succeeded(account, address)
    return person


async def refresh(parts: Parts, token: str) -> tuple[Session, str]:
    """The session of a refresh token, and the next refresh token."""
    return await parts.sessions.refresh(token, access=parts.identity.tokens.access)


async def access(parts: Parts, session: Session) -> tuple[str, int]:
    """An access token of the session with what its person may do now, and the seconds that it is valid."""
    settings = parts.identity.tokens
    now = int(time.time())
    person = await parts.people.get(session.person)
    if person is None or person.disabled:
        raise Refused(401, "token_unknown", "the session has ended", "log in again")
    # What was made before `tokens_from` is void. That may lie a second ahead; and a change that is being written, and
    # was not read yet, has noted a moment that is some seconds ago.
    issued = max(now - WRITING, int(person.tokens_from.timestamp()) if person.tokens_from else 0)
    expires = int(session.tokens_until.timestamp())
    claims = {
        "iss": settings.issuer,
        "aud": settings.issuer,
        "sub": person.id,
        "sid": session.id,
        "jti": uuid4().hex,
        "iat": issued,
        "exp": expires,
        "roles": list(person.roles),
        "permissions": [],
        "tenant": person.tenant,
    }
    return tokens.issue(claims, await parts.signing.current(settings.algorithm)), max(0, expires - now)


async def logout(parts: Parts, caller: Principal) -> None:
    """End the session that the caller's token belongs to."""
    if not caller.session:
        hint = "log out where the token was issued; or let it expire"
        raise Refused(409, "no_session", "this token belongs to no session of this gateway", hint)
    await parts.sessions.end(caller.session, person=caller.id, tenant=caller.tenant)


async def sessions(
    parts: Parts, caller: Principal, after: str | None, limit: int
) -> tuple[list[SessionView], str | None]:
    """A page of the caller's sessions that go on."""
    found, following = await parts.sessions.list(caller.id, tenant=caller.tenant, after=after, limit=limit)
    views = [
        SessionView(
            id=session.id,
            created_at=session.created_at,
            used_at=session.used_at,
            expires_at=session.expires_at,
            agent=session.agent,
            address=session.address,
            current=session.id == caller.session,
        )
        for session in found
    ]
    return views, following


async def end_session(parts: Parts, caller: Principal, name: str) -> None:
    """End one of the caller's sessions; Refused (404) when it is none of theirs."""
    if not await parts.sessions.end(name, person=caller.id, tenant=caller.tenant):
        raise Refused(404, "not_found", "you have no such session", "GET /api/v1/auth/sessions lists them")


async def profile(parts: Parts, caller: Principal) -> Profile:
    """The caller, with what is kept about it. Of callers known to others only (other issuers, the configuration) it
    tells what their credential says."""
    told = Profile(
        kind=KINDS.get(caller.kind, "person"),
        id=caller.id,
        name=caller.id,
        tenant=caller.tenant,
        roles=list(caller.roles),
        permissions=list(caller.permissions),
        usage=await _usage(parts, caller),
    )
    if caller.kind == "key":
        key = await parts.keys.get(caller.id, caller.tenant)
        if key is not None:
            return told.model_copy(
                update={
                    "name": key.name,
                    "created_at": key.created_at,
                    "last_used_at": key.last_used_at,
                    "expires_at": key.expires_at,
                    "is_active": key.is_active,
                    "rate_limit_per_minute": key.per_minute,
                    "rate_limit_per_day": key.per_day,
                    "hint": key.hint,
                }
            )
    elif caller.kind == "person":
        person = await parts.people.get(caller.id, caller.tenant)
        if person is not None:
            known = {"name": person.name, "email": person.email or None, "created_at": person.created_at}
            return told.model_copy(update=known | {"is_active": not person.disabled})
    return told


async def _usage(parts: Parts, caller: Principal) -> ProfileUsage:
    numbers = await parts.usage.callers(caller.id, caller.tenant, caller.kind)
    now = int(time.time())
    today, minute = now - now % DAY, now - now % MINUTE
    days = await parts.usage.series(numbers, DAY, today, today + DAY)
    minutes = await parts.usage.series(numbers, MINUTE, minute, minute + MINUTE)
    all_day, this_minute = total(days.values()), total(minutes.values())
    return ProfileUsage(
        requests_today=all_day.requests, errors_today=all_day.errors, requests_this_minute=this_minute.requests
    )


async def change_profile(parts: Parts, caller: Principal, change: ProfileChange, address: str) -> None:
    """Change what people may change about themselves. Refused (403) for callers that are no person of ours."""
    person = await parts.people.get(caller.id, caller.tenant) if caller.kind == "person" else None
    if person is None:
        hint = "administrators change keys; an identity provider changes its people"
        raise Refused(403, "profile_fixed", "only people of this gateway have a profile to change", hint)
    if not caller.allows("profile:write"):
        raise Refused(403, "permission_missing", "the caller lacks the permission profile:write")
    if change.password is not None and not await _proved(parts, person.email, change.current_password or "", address):
        raise Refused(403, "password_wrong", "`current_password` is wrong", "send the password of now with it")
    if change.password is not None or change.name is not None:
        await parts.people.update(
            person.id, name=change.name, password=change.password, keep=caller.session, tenant=caller.tenant
        )
