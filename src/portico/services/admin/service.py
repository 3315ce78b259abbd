"""What administrators do; nobody hands on more than they have, and nobody reaches into another tenant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from portico.errors import Missing
from portico.identity.principal import Principal
from portico.identity.roles import Roles
from portico.services import callers
from portico.services.admin.schemas import NewInvitation, NewKey, NewPerson, PersonChange
from portico.services.host import Host
from portico.services.problems import Refused
from portico.storage import accounts
from portico.storage.accounts import Invitation, Invitations, KeyRecord, Keys, People, Person


@dataclass(frozen=True, slots=True)
class Admin:
    """The repositories that administrators work on."""

    host: Host
    keys: Keys
    people: People
    invitations: Invitations

    async def issue(self, caller: Principal, new: NewKey) -> tuple[KeyRecord, str]:
        """A new key, of no more than the caller may do."""
        self._may_grant(caller, permissions=new.permissions)
        end = None if new.expires_in is None else datetime.now(UTC) + timedelta(seconds=new.expires_in)
        wanted = accounts.NewKey(
            name=new.name,
            owner=new.owner or "",
            tenant=callers.scope(caller, new.tenant),
            permissions=tuple(new.permissions),
            per_minute=new.rate_limit_per_minute,
            per_day=new.rate_limit_per_day,
            window=new.window or "",
            rate=new.rate or "",
            burst=new.burst or 0,
            quota=new.quota or "",
            networks=tuple(new.networks),
            expires_at=end,
        )
        return await self.keys.issue(wanted)

    async def key(self, caller: Principal, name: str) -> KeyRecord:
        """A key that the caller may see; Missing otherwise."""
        record = await self.keys.get(name, callers.sight(caller))
        if record is None:
            raise Missing("there is no such key")
        return record

    async def rotate(self, caller: Principal, name: str, grace: float) -> tuple[KeyRecord, str, datetime]:
        """A successor of a key, and until when the old one works. Whoever gets a key gets what it may do."""
        old = await self.key(caller, name)
        self._may_grant(caller, permissions=old.permissions)
        record, key = await self.keys.rotate(name, grace, old.tenant)
        old = await self.key(caller, name)
        return record, key, old.expires_at or record.created_at

    async def revoke(self, caller: Principal, name: str) -> None:
        """End a key. Anyone who may write keys may, also of one that may do more: it only takes away."""
        record = await self.key(caller, name)
        await self.keys.revoke(name, record.tenant)

    async def create(self, caller: Principal, new: NewPerson) -> Person:
        """A new person, with roles that grant no more than the caller may do."""
        self._may_grant(caller, roles=new.roles)
        tenant = callers.scope(caller, new.tenant)
        return await self.people.create(new.email, new.password, new.roles, tenant, new.name or "")

    async def person(self, caller: Principal, name: str) -> Person:
        """A person whom the caller may see; Missing otherwise."""
        person = await self.people.get(name, callers.sight(caller))
        if person is None:
            raise Missing("there is no such person")
        return person

    async def change(self, caller: Principal, name: str, change: PersonChange) -> Person:
        """Change a person who may do no more than the caller, before and after.

        Roles that the person has and the configuration has no more grant nothing, and are in nobody's way.
        """
        person = await self.person(caller, name)
        known = {role.name for role in self.host.snapshot.identity.roles}
        self._may_grant(caller, roles=[role for role in person.roles if role in known])
        if change.roles is not None:
            self._may_grant(caller, roles=change.roles)
        if change.password is not None and not person.email:
            raise Refused(409, "no_email", "someone without an e-mail address has no password", "leave it out")
        return await self.people.update(
            name,
            roles=change.roles,
            disabled=change.disabled,
            name=change.name,
            password=change.password,
            tenant=person.tenant,
        )

    async def invite(self, caller: Principal, new: NewInvitation) -> tuple[Invitation, str]:
        """An invitation to no more than the caller may do."""
        self._may_grant(caller, permissions=new.permissions, roles=new.roles)
        return await self.invitations.create(
            created_by=caller.id,
            tenant=callers.scope(caller, new.tenant),
            email=new.email or "",
            roles=new.roles,
            permissions=new.permissions,
            lifetime=float(new.expires_in),
        )

    def _may_grant(
        self,
        caller: Principal,
        *,
        permissions: Sequence[str] = (),
        roles: Sequence[str] = (),
    ) -> None:
        known = self.host.snapshot.identity.roles
        strange = sorted(set(roles) - {role.name for role in known})
        if strange:
            names = ", ".join(sorted(role.name for role in known))
            raise Refused(422, "unknown_role", f"there is no role {strange[0]}", f"there are: {names}")
        if not callers.covers(caller, (*permissions, *Roles(known).permissions(roles))):
            detail = "nobody can hand on, or take over, more than they may do themselves"
            raise Refused(403, "more_than_own", detail, "ask someone who has these permissions")
