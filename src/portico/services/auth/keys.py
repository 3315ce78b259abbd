"""What callers do with API keys of their own: register for one, replace it, revoke it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from portico.errors import Invalid, Missing, Taken, Unknown
from portico.identity.principal import Principal
from portico.services.auth.parts import Parts
from portico.services.auth.schemas import Register
from portico.services.problems import Refused
from portico.storage.accounts import KeyRecord, NewKey

EVERYONE: Final = ("user",)  # the role of those who come uninvited


async def register(parts: Parts, wish: Register, address: str) -> tuple[KeyRecord, str]:
    """A new key, and a person who owns it when the wish has an e-mail address. Refused as `registration` says."""
    mode = parts.identity.registration
    if mode == "closed":
        raise Refused(403, "registration_closed", "nobody can register here", "ask an administrator for a key")
    if wish.password is not None and wish.email is None:
        raise Invalid("password", "goes with an e-mail address")
    # The address is its own account: strangers elsewhere make nobody wait.
    wait = await parts.registrations.wait(address, address, _stranger)
    if wait:
        detail = "too many registrations came from this address"
        raise Refused(429, "too_many_attempts", detail, headers={"Retry-After": str(wait)})
    if wish.invitation is None and mode == "open":
        return await _uninvited(parts, wish)
    found = await _invited(parts, wish)
    await parts.registrations.succeeded(address, address)
    return found


async def _uninvited(parts: Parts, wish: Register) -> tuple[KeyRecord, str]:
    password = None if wish.password is None else await parts.people.hashed(wish.password)
    new = NewKey(wish.name, permissions=parts.permissions(EVERYONE))
    return await parts.invitations.enrol(new, email=wish.email or "", password=password, roles=EVERYONE)


async def _stranger() -> bool:
    return False


async def _invited(parts: Parts, wish: Register) -> tuple[KeyRecord, str]:
    """A key by an invitation, which is used up only if all goes well."""
    token = wish.invitation
    if token is None:
        raise Refused(403, "invitation_missing", "registering needs an invitation", "ask an administrator for one")
    try:
        invitation = await parts.invitations.find(token)
        if invitation.email and wish.email and wish.email.lower() != invitation.email:
            detail = "the invitation is for another e-mail address"
            raise Refused(403, "invitation_of_another", detail, "leave `email` out, or send the one that was invited")
        password = None if wish.password is None else await parts.people.hashed(wish.password)
        email = wish.email or invitation.email
        return await parts.invitations.register(token, NewKey(wish.name), email=email, password=password)
    except Unknown as error:
        raise Refused(403, "invitation_not_valid", str(error), "ask an administrator for a new one") from None


async def rotate(parts: Parts, caller: Principal, grace: float) -> tuple[KeyRecord, str, datetime]:
    """A successor of the caller's key, and until when the old one works."""
    if await parts.keys.get(caller.id, caller.tenant) is None:
        raise _fixed()
    try:
        record, key = await parts.keys.rotate(caller.id, grace, caller.tenant)
    except Taken:
        detail = "the key has a successor already"
        raise Refused(409, "rotated_already", detail, "use the successor; or revoke this key") from None
    except Missing:
        raise Refused(409, "key_not_usable", "the key does not work any more", "use another") from None
    old = await parts.keys.get(caller.id, caller.tenant)
    return record, key, old.expires_at if old is not None and old.expires_at is not None else record.created_at


async def revoke(parts: Parts, caller: Principal) -> None:
    """End the caller's key."""
    if await parts.keys.get(caller.id, caller.tenant) is None:
        raise _fixed()
    await parts.keys.revoke(caller.id, caller.tenant)


def _fixed() -> Refused:
    detail = "this key stands in the configuration file"
    return Refused(409, "key_in_configuration", detail, "ask the operator to change it")
