"""What `auth` works with."""

from __future__ import annotations

from dataclasses import dataclass

from portico.contracts import Identity
from portico.identity.roles import Roles
from portico.services.attempts import Attempts
from portico.services.auth.feed import Feed
from portico.services.auth.issuers import Issuers
from portico.services.host import Host
from portico.storage.accounts import Invitations, Keys, People, Sessions, SigningKeys
from portico.storage.usage import Usage


@dataclass(frozen=True, slots=True)
class Parts:
    """The repositories, and what `auth` itself has made."""

    host: Host
    keys: Keys
    people: People
    sessions: Sessions
    invitations: Invitations
    signing: SigningKeys
    issuers: Issuers
    feed: Feed
    logins: Attempts
    registrations: Attempts
    usage: Usage

    @property
    def identity(self) -> Identity:
        """As the configuration of now has it."""
        return self.host.snapshot.identity

    @property
    def proxies(self) -> tuple[str, ...]:
        """The proxies that are trusted to tell a client's address."""
        return self.host.snapshot.server.trusted_proxies

    def permissions(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """What these roles grant by the configuration of now."""
        return Roles(self.identity.roles).permissions(roles)
