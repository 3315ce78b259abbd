"""Tokens that were verified, whose have been revoked, and the issuers to verify others by."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from portico.errors import TokenError
from portico.identity.principal import Principal
from portico.identity.roles import Roles

if TYPE_CHECKING:
    from portico.identity.tokens import Claims, Verifier

CACHED: Final = 10_000  # verified tokens
LONGEST: Final = 1800.0  # seconds for which one is not verified again
SWEEP: Final = 60.0  # seconds between two looks for revocations whose tokens have expired


class Accepted:
    """A verified token, until `until` (wall)."""

    def __init__(self, claims: Claims, principal: Principal, until: float) -> None:
        self.claims = claims
        self.principal = principal
        self.until = until


class Revoked:
    """Our own tokens that are not accepted any more, though they have not expired. Times are wall."""

    def __init__(self) -> None:
        self.sessions: dict[str, float] = {}  # session → when the last of its tokens has expired
        self.subjects: dict[str, float] = {}  # person → tokens issued before count no longer
        self.swept = 0.0

    def add(self, told: dict[str, Any]) -> None:
        """What the services have told."""
        self.sessions.update({str(name): float(until) for name, until in told.get("sessions", {}).items()})
        self.subjects.update({str(name): float(before) for name, before in told.get("subjects", {}).items()})

    def covers(self, claims: Claims) -> bool:
        """Whether a token that says this was revoked."""
        if not claims.own:
            return False
        if claims.session in self.sessions:
            return True
        before = self.subjects.get(claims.subject)
        return before is not None and claims.issued < before

    def sweep(self, wall: float) -> None:
        """Let go of sessions none of whose tokens is valid any more."""
        if wall - self.swept >= SWEEP:
            self.swept = wall
            self.sessions = {name: until for name, until in self.sessions.items() if until + SWEEP > wall}


class Tokens:
    """The tokens of one edge process. PyJWT and cryptography are loaded when the first one comes."""

    def __init__(self) -> None:
        self.roles = Roles(())
        self.revoked = Revoked()
        self.told: list[dict[str, Any]] = []  # the issuers, as the services tell of them
        self.verifier: Verifier | None = None  # None: not loaded, or made of issuers of before
        self.cache: OrderedDict[bytes, Accepted] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self._ready = False
        self._loading: asyncio.Future[None] | None = None

    def configure(self, roles: Roles) -> None:
        """What roles grant from now on."""
        self.roles = roles
        self.cache.clear()

    def issuers(self, told: list[dict[str, Any]]) -> None:
        """Whose tokens are accepted from now on. What an issuer that is no longer there vouched for is forgotten."""
        if told != self.told:
            self.told = told
            self.verifier = None
            self.cache.clear()

    def find(self, token: bytes, wall: float) -> Principal | None:
        """Whom a token that was verified before stands for; None: it has to be verified (again)."""
        accepted = self.cache.get(sha256(token).digest())
        if accepted is None or wall >= accepted.until or self.revoked.covers(accepted.claims):
            return None
        return accepted.principal

    @property
    def ready(self) -> bool:
        """Whether tokens can be verified without loading anything."""
        return self._ready

    async def load(self) -> None:
        """Load what verifies, in a thread: it takes longer than requests should wait for."""
        if self._ready:
            return
        if self._loading is None:
            self._loading = asyncio.get_running_loop().run_in_executor(None, _load)
        await asyncio.shield(self._loading)
        self._ready = True

    def verify(self, token: bytes, wall: float) -> Principal:
        """Whom the token stands for; TokenError when it is not accepted. `load` comes first."""
        self.misses += 1
        digest = sha256(token).digest()
        self.cache.pop(digest, None)
        claims = self.claims(token, wall)
        principal = self.principal(claims)
        if len(self.cache) >= CACHED:
            self.cache.popitem(last=False)
        self.cache[digest] = Accepted(claims, principal, min(claims.expires, wall + LONGEST))
        return principal

    def claims(self, token: bytes, wall: float) -> Claims:
        """What the token says, if it is accepted."""
        verifier = self.verifier
        if verifier is None:
            from portico.identity.tokens import KeySet, Verifier

            verifier = self.verifier = Verifier([KeySet(each) for each in self.told])
        claims = verifier.verify(token, wall)
        if self.revoked.covers(claims):
            raise TokenError("token_revoked", "the token was revoked, or its session has ended")
        return claims

    def principal(self, claims: Claims) -> Principal:
        """Whom the claims stand for, with what their roles grant now."""
        granted = dict.fromkeys((*claims.permissions, *self.roles.permissions(claims.roles)))
        return Principal(claims.principal, "person", claims.tenant, tuple(granted), claims.roles, claims.session)


def _load() -> None:
    """Import, and use once: the first use loads more."""
    import jwt

    import portico.identity.tokens

    portico.identity.tokens.KeySet(
        {
            "name": "", "issuer": "", "audience": "", "algorithms": ["HS256"], "leeway": 0, "roles": [],
            "roles_claim": "", "tenant": "", "tenant_claim": "", "own": True,
            "keys": [json.loads(jwt.algorithms.HMACAlgorithm.to_jwk(bytes(32)))],
        }
    )  # fmt: skip
