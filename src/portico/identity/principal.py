"""Who calls: the principal, and how the edge tells the services about it.

A permission is `noun:verb` or `noun:verb:instance`. A granted one may have `*` for any part, and `*` alone grants all.
A grant without an instance covers every instance (`documents:read` allows `documents:read:orders`), a grant with one
covers only that. What no grant covers is denied.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

LIFETIME: Final = 60.0  # seconds that a signed principal is valid
SKEW: Final = 5.0  # seconds that the signer's clock may be ahead of the verifier's
MAX_HEADER: Final = 64 * 1024


class Principal:
    """A caller whose credential was accepted.

    `id`: a key's id, a person's (`ISSUER:SUBJECT` when another issuer vouches for them) or a device's name. `roles` are
    where permissions came from; `permissions` are all there are. `session`: the one that a token of ours belongs to.
    """

    def __init__(
        self,
        id: str,  # noqa: A002
        kind: str,
        tenant: str,
        permissions: tuple[str, ...],
        roles: tuple[str, ...] = (),
        session: str = "",
    ) -> None:
        self.id = id
        self.kind = kind  # key | person | device
        self.tenant = tenant
        self.permissions = permissions
        self.roles = roles
        self.session = session
        self.counted = id  # what limits count it under; keys that replaced one another are one to them
        self.label = json.dumps(id).encode()  # as a log shows it
        self._all = "*" in permissions
        self._exact = frozenset(permissions)
        self._wide = _grants(permissions)

    def allows(self, permission: str) -> bool:
        """Whether some grant covers `permission` (`noun:verb[:instance]`)."""
        if self._all or permission in self._exact:
            return True
        if not self._wide:
            return False
        parts = permission.split(":", 2)
        if len(parts) < 2 or "" in parts:
            return False
        for grant in self._wide:  # noqa: SIM110 - a generator costs a class when compiled
            if _covers(grant, parts):
                return True
        return False

    def covering(self, permission: str) -> str:
        """The grant that covers `permission`, the narrowest first; "" when none does."""
        if not self.allows(permission):
            return ""
        if permission in self._exact:
            return permission
        parts = permission.split(":", 2)
        for grant in self._wide:
            if _covers(grant, parts):
                return ":".join(grant)
        return "*"


def _grants(permissions: tuple[str, ...]) -> tuple[list[str], ...]:
    """The grants that can cover something besides their own text: those with a `*`, and those without an instance."""
    split = [permission.split(":", 2) for permission in permissions]
    return tuple(parts for parts in split if len(parts) == 2 or (len(parts) == 3 and "*" in parts))


def _covers(grant: list[str], parts: list[str]) -> bool:
    # A grant with an instance, even `*`, says nothing about the permission without one.
    if len(grant) > len(parts):
        return False
    for index in range(len(grant)):  # noqa: SIM110
        if grant[index] != "*" and grant[index] != parts[index]:
            return False
    return True


def sign(principal: Principal, request_id: bytes, now: float, key: bytes) -> bytes:
    """The header value that tells the services who calls: `payload.mac`, each base64url without padding.

    `now` is in seconds since 1970, `key` has 32 bytes. The HMAC-SHA256 (RFC 2104) covers the payload and the request
    id, so that the value is worth nothing with another request.
    """
    text = json.dumps(
        [
            principal.id,
            principal.kind,
            principal.tenant,
            list(principal.permissions),
            int(now * 1000),
            list(principal.roles),
            principal.session,
        ],
        separators=(",", ":"),
    )
    payload = urlsafe_b64encode(text.encode()).rstrip(b"=")
    return payload + b"." + urlsafe_b64encode(_mac(payload, request_id, key)).rstrip(b"=")


def verify(header: bytes, request_id: bytes, now: float, key: bytes) -> Principal | None:
    """The principal that `sign` wrote for this request at most 60 seconds ago, or None."""
    if len(header) > MAX_HEADER:
        return None
    payload, _, presented = header.partition(b".")
    expected = urlsafe_b64encode(_mac(payload, request_id, key)).rstrip(b"=")
    if not hmac.compare_digest(expected, presented):
        return None
    # What carries our MAC was written by `sign`.
    return _read(json.loads(urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))), now)


def _read(values: Any, now: float) -> Principal | None:
    name, kind, tenant, permissions, made, roles, session = values
    age = now - made / 1000
    if age > LIFETIME or age < -SKEW:
        return None
    return Principal(name, kind, tenant, tuple(permissions), tuple(roles), session)


def _mac(payload: bytes, request_id: bytes, key: bytes) -> bytes:
    # The payload's alphabet has no dot, so the two can't be shifted against each other.
    return hmac.digest(key, payload + b"." + request_id, "sha256")
