"""Keys, people, sessions, invitations and signing keys: the rules, and where they are kept.

Every method that gets or lists takes a tenant; given one, another tenant's rows are as if they were not there. `None`
is for callers that answer for the whole gateway: the command line, and an administrator who may see all tenants.
"""

from __future__ import annotations

from portico.storage.accounts.invitations import Invitations
from portico.storage.accounts.keys import Keys
from portico.storage.accounts.people import People
from portico.storage.accounts.records import Invitation, KeyRecord, NewKey, Person, Session
from portico.storage.accounts.sessions import Sessions
from portico.storage.accounts.signing import SigningKeys
from portico.storage.changes import Change, Changes

__all__ = [
    "Change",
    "Changes",
    "Invitation",
    "Invitations",
    "KeyRecord",
    "Keys",
    "NewKey",
    "People",
    "Person",
    "Session",
    "Sessions",
    "SigningKeys",
]
